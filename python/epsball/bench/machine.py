"""What this machine can do at most: FMA peak and copy bandwidth, measured; its name and caches, read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from epsball import _native
from epsball.bench.timing import Probe, Sample, interleave
from epsball.machine import cpu_name

_L2 = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")


@dataclass(frozen=True)
class Machine:
    """The machine of a run.

    Attributes
    ----------
    cpu, logical_cpus, l2_bytes
        As the operating system tells; ``l2_bytes`` is per core, None where it does not say.
    table
        The kernel table in use, whose FMA loop ``fma_gflops`` is.
    threads
        Threads of every contender of the run.
    fma_gflops, copy_gbs
        GFLOP/s and GB/s by number of threads; a copy counts the bytes read and those written.
    """

    cpu: str
    logical_cpus: int
    l2_bytes: int | None
    table: str
    threads: int
    fma_gflops: dict[int, Sample]
    copy_gbs: dict[int, Sample]


def measure(threads: int, seconds: float, repeats: int) -> Machine:
    """Measure the limits for every number of threads in `thread_counts`."""
    from epsball import info

    counts = thread_counts(threads)
    each = seconds / repeats
    probes = {f"fma {n}": fma_probe(n, each) for n in counts}
    probes |= {f"copy {n}": _copy_probe(n, each) for n in counts}
    found = interleave(probes, repeats)
    return Machine(
        cpu=cpu_name(),
        logical_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        l2_bytes=l2_bytes(),
        table=str(info()["chosen"]),
        threads=threads,
        fma_gflops={n: found[f"fma {n}"] for n in counts},
        copy_gbs={n: found[f"copy {n}"] for n in counts},
    )


def thread_counts(threads: int) -> list[int]:
    """Return 1, 2, 4, ... below `threads`, and `threads` itself."""
    return [n for n in (1 << k for k in range(threads.bit_length())) if n < threads] + [threads]


def fma_probe(threads: int, seconds: float) -> Probe:
    """Return a probe of the FMA peak, in GFLOP/s."""
    return lambda: _native.fma_peak(threads, seconds)


def _copy_probe(threads: int, seconds: float) -> Probe:
    return lambda: _native.copy_bandwidth(threads, seconds)


def l2_bytes() -> int | None:
    """Return the size of one core's second-level cache, None where the system does not tell."""
    try:
        text = _L2.read_text().strip()
    except OSError:
        return None
    return int(text.removesuffix("K")) * 1024 if text.endswith("K") else int(text)
