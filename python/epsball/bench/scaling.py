"""How an attack's cost grows with rows, steps, width, depth and threads; where a slab leaves the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

import epsball as eb
from epsball import _native
from epsball.bench.attack import digits
from epsball.bench.machine import fma_probe, l2_bytes, thread_counts
from epsball.bench.timing import Probe, interleave, stopwatch
from epsball.reports.progress import Progress, silent

SIZES = (784, 256, 256, 10)
ROWS, STEPS = 256, 10  # of every sweep that varies something else
#: Rows are padded to a multiple of this many floats: kRowPad of src/array.h.
ROW_PAD = 16
#: A throughput this far below the best smaller point counts as having left the cache.
DROP = 0.95
#: Points with this part of the most work or more have amortised the fixed cost of a call: they give the exponent.
FITTED = 0.1


@dataclass(frozen=True)
class Point:
    """One measured point; ``slab_bytes`` is what `slab_bytes` estimates, None where the engine chose the slab."""

    value: int
    seconds: float
    gflops: float
    slab_bytes: int | None = None
    fma_gflops: float | None = None


@dataclass(frozen=True)
class Sweep:
    """How the cost grows with one thing.

    Attributes
    ----------
    exponent
        Of the seconds as a power of the FLOPs, over the points with at least a tenth of the most work:
        1 is linear. None where the work is the same at every point (slab, threads).
    knee
        The first value whose GFLOP/s are less than 95 % of the best at smaller values; None if there is none.
    fits
        The largest value whose estimated working set fits the second-level cache, None where unknown.
    """

    name: str
    points: tuple[Point, ...]
    exponent: float | None
    knee: int | None
    fits: int | None


@dataclass(frozen=True)
class Case:
    """One point to measure: a network, how many rows and steps, and how the engine is set."""

    value: int
    sizes: Sequence[int] = SIZES
    rows: int = ROWS
    steps: int = STEPS
    slab: int = 0
    threads: int = 0

    @property
    def flops(self) -> int:
        """FLOPs of the whole attack."""
        macs = sum(a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False))
        return 4 * macs * self.rows * self.steps


def slab_bytes(sizes: Sequence[int], rows: int) -> int:
    """Return the working set of a slab of an MLP of ReLUs: the attack's rows, activations, two shared gradients."""
    # The same count as SlabAttack::floats_per_row in src/attacks/attack.cpp, as the engine does not tell it.
    features, *outputs = (-(-size // ROW_PAD) * ROW_PAD for size in sizes)
    return 4 * rows * (5 * features + sum(outputs) + 2 * max(outputs))


def cases(threads: int, largest: int = 4096) -> dict[str, list[Case]]:
    """Return the points of every sweep; `largest` cuts rows, widths and slabs short for a quick look."""
    powers = [1 << k for k in range(largest.bit_length())]
    many = min(largest, 2048)
    return {
        "rows": [Case(n, rows=n) for n in powers],
        "steps": [Case(n, steps=n) for n in (1, 2, 5, 10, 20, 40, 80) if n <= largest],
        "width": [Case(n, sizes=(784, n, n, 10)) for n in powers if n >= 16],
        "depth": [Case(n, sizes=(784, *[256] * n, 10)) for n in (1, 2, 4, 8, 16) if n <= largest],
        "slab": [Case(7 * n, rows=many, slab=7 * n, threads=1) for n in powers if 7 * n <= many],
        "threads": [Case(n, rows=many, threads=n) for n in thread_counts(threads)],
    }


def measure(
    threads: int, seconds: float, repeats: int, largest: int = 4096, progress: Progress = silent
) -> list[Sweep]:
    """Measure every sweep; the points of a sweep are interleaved."""
    sweeps, todo = [], cases(threads, largest)
    for done, (name, points) in enumerate(todo.items()):
        progress("scaling", done, len(todo))
        sweeps.append(_sweep(name, points, threads, seconds, repeats))
    progress("scaling", len(todo), len(todo))
    return sweeps


def _sweep(name: str, points: list[Case], threads: int, seconds: float, repeats: int) -> Sweep:
    each = seconds / repeats / max(1, len(points))
    probes = {f"attack {case.value}": _probe(case, threads, each) for case in points}
    if name == "threads":
        probes |= {f"fma {case.value}": fma_probe(case.value, each) for case in points}
    samples = {key: sample.median for key, sample in interleave(probes, repeats).items()}
    measured = tuple(
        Point(
            value=case.value,
            seconds=samples[f"attack {case.value}"],
            gflops=case.flops / samples[f"attack {case.value}"] / 1e9,
            slab_bytes=slab_bytes(case.sizes, case.slab) if case.slab else None,
            fma_gflops=samples.get(f"fma {case.value}"),
        )
        for case in points
    )
    work = [case.flops for case in points]
    knee = _knee(measured) if name in ("slab", "width", "rows", "depth") else None
    return Sweep(name, measured, _exponent(work, measured), knee, _fits(measured))


def _probe(case: Case, threads: int, seconds: float) -> Probe:
    """Return the seconds of one attack, with the engine's threads and slab set around the timing alone."""
    model = eb.models.mlp(list(case.sizes))
    x, y = digits(case.rows)
    attack = eb.attacks.PGD(eps=0.3, steps=case.steps, step_size=0.01)
    with _engine(case.threads or threads, case.slab):
        inner = stopwatch(lambda: attack(model, x, y), seconds)

    def probe() -> float:
        with _engine(case.threads or threads, case.slab):
            return inner()

    return probe


@contextmanager
def _engine(threads: int, slab: int) -> Iterator[None]:
    before = _native.set_threads(threads)
    _native.set_slab_rows(slab)
    try:
        yield
    finally:
        _native.set_threads(before)
        _native.set_slab_rows(0)


def _exponent(work: list[int], points: Sequence[Point]) -> float | None:
    kept = [(w, p.seconds) for w, p in zip(work, points, strict=True) if w >= FITTED * max(work)]
    if len({w for w, _ in kept}) < 2:
        return None
    logs = np.log(np.array(kept, dtype=np.float64))
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def _knee(points: Sequence[Point]) -> int | None:
    best = 0.0
    for point in points:
        if point.gflops < DROP * best:
            return point.value
        best = max(best, point.gflops)
    return None


def _fits(points: Sequence[Point]) -> int | None:
    cache = l2_bytes()
    sized = [p for p in points if p.slab_bytes is not None]
    if cache is None or not sized:
        return None
    return max((p.value for p in sized if p.slab_bytes is not None and p.slab_bytes <= cache), default=None)


def check_plot(file: Path) -> None:
    """Raise where `plot` could not draw to `file`: matplotlib is missing or does not know the suffix."""
    from matplotlib.figure import Figure

    Figure().savefig(BytesIO(), format=file.suffix.removeprefix(".") or None)


def plot(sweeps: Sequence[Sweep], file: Path) -> None:
    """Draw seconds and GFLOP/s of every sweep to an image file (needs matplotlib)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(sweeps) / 2, 5), layout="constrained")
    for axes, sweep in zip(figure.subplots(2, (len(sweeps) + 1) // 2).flat, sweeps, strict=False):
        values = [point.value for point in sweep.points]
        axes.loglog(values, [point.gflops for point in sweep.points], "o-", color="tab:blue")
        axes.set(xlabel=sweep.name, ylabel="GFLOP/s", title=_growth(sweep))
        if sweep.knee is not None:
            axes.axvline(sweep.knee, color="tab:red", linestyle=":")
        seconds = axes.twinx()
        seconds.loglog(values, [point.seconds for point in sweep.points], "s--", color="tab:grey")
        seconds.set_ylabel("seconds a call")
    figure.savefig(file)


def _growth(sweep: Sweep) -> str:
    return "" if sweep.exponent is None else f"time ~ FLOPs^{sweep.exponent:.2f}"


def bars(sweep: Sweep, width: int = 40) -> str:
    """Draw the GFLOP/s of a sweep as text."""
    top = max(point.gflops for point in sweep.points)
    return "\n".join(
        f"{point.value:>6} {'█' * max(1, round(width * point.gflops / top))} {point.gflops:.1f} GFLOP/s"
        for point in sweep.points
    )


def sentences(sweep: Sweep) -> list[str]:
    """Say in words what a sweep shows."""
    said = []
    if sweep.exponent is not None:
        said.append(f"the time grows as FLOPs^{sweep.exponent:.2f} (1 is linear)")
    if sweep.fits is not None:
        said.append(f"up to {sweep.fits} rows a slab fits the second-level cache, by size")
    if sweep.knee is not None:
        said.append(f"throughput falls by more than {1 - DROP:.0%} at {sweep.knee}")
    if (scaling := thread_efficiency(sweep)) is not None:
        said.append(f"the attack scales at {scaling:.2f} of what the FMA loop does")
    return said


def thread_efficiency(sweep: Sweep) -> float | None:
    """Return the attack's speed-up from the fewest to the most threads over that of the FMA loop."""
    first, last = sweep.points[0], sweep.points[-1]
    if first.fma_gflops is None or last.fma_gflops is None or first is last:
        return None
    return (last.gflops / first.gflops) / (last.fma_gflops / first.fma_gflops)
