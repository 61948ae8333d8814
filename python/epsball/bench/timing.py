"""The timing rules: one thing at a time, contenders interleaved, warm, gc off, medians quoted."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter

#: Measures one thing once and returns the figure: seconds per call, GFLOP/s, ...
Probe = Callable[[], float]


@dataclass(frozen=True)
class Sample:
    """Repeated measurements of one figure."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Sample:
        """Summarise measurements."""
        return cls(median(values), min(values), max(values))


def stopwatch(call: Callable[[], object], seconds: float) -> Probe:
    """Warm a call up and return a probe that gives its seconds, as a mean over about `seconds`."""
    call()
    start = perf_counter()
    call()
    calls = max(1, round(seconds / (perf_counter() - start)))

    def probe() -> float:
        if calls > 1:  # untimed: refills the caches, and lets other libraries' spinning threads sleep
            call()
        start = perf_counter()
        for _ in range(calls):
            call()
        return (perf_counter() - start) / calls

    return probe


def rate(call: Callable[[], object], work: float, seconds: float) -> Probe:
    """Return a probe that gives `work` per second, where one call does `work`."""
    probe = stopwatch(call, seconds)
    return lambda: work / probe()


def interleave(probes: Mapping[str, Probe], repeats: int) -> dict[str, Sample]:
    """Run every probe once per round, so that slow drifts of the machine touch all of them alike."""
    values: dict[str, list[float]] = {name: [] for name in probes}
    names = list(probes)
    with _no_gc():
        for turn in range(repeats):
            shift = turn % max(1, len(names))  # nobody always runs after the same neighbour's leftovers
            for name in names[shift:] + names[:shift]:
                values[name].append(probes[name]())
    return {name: Sample.of(values[name]) for name in names}


@contextmanager
def _no_gc() -> Iterator[None]:
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
