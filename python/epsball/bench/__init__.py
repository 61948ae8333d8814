"""Microbenchmarks: attack throughput beside the machine's limits and beside installed peers."""
