"""Puts one benchmark run together: the machine, the table of attacks, scaling and overhead if asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import epsball as eb
from epsball import _native
from epsball.bench import attack, machine, overhead, peers, scaling
from epsball.reports.progress import Progress, silent
from epsball.reports.tables import Table, number, percent

SCHEMA = 2
REPEATS = 5


@dataclass(frozen=True)
class Run:
    """The results of one run; see the classes of its fields."""

    epsball: str
    seconds: float
    repeats: int
    machine: machine.Machine
    attack: tuple[attack.Line, ...]
    absent: tuple[peers.Absent, ...]
    scaling: tuple[scaling.Sweep, ...] | None = None
    overhead: overhead.Overhead | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types, with the schema's version."""
        return {"schema": SCHEMA, **asdict(self)}

    def tables(self) -> list[tuple[str, Table, str]]:
        """Return title, table and caption of each part of the run, from what `to_dict` gives."""
        return tables(self.to_dict())


def run(
    cells: Sequence[tuple[str, int]] | None = None,
    peer_names: Sequence[str] | None = None,
    *,
    with_scaling: bool = False,
    with_overhead: bool = False,
    seconds: float = 1.0,
    repeats: int = REPEATS,
    threads: int | None = None,
    largest: int = 4096,
    progress: Progress = silent,
) -> Run:
    """Measure everything asked for, one thing at a time.

    Parameters
    ----------
    cells
        Pairs of model name and batch; None: `attack.CELLS`.
    peer_names
        Peers to compare with; None: the default ones, empty: none.
    seconds, repeats
        Time per contender and row of the table, spread over that many interleaved rounds.
    threads
        Threads of every contender; None: what epsball uses by default.
    largest
        Upper end of the scaling sweeps.
    """
    cells = attack.CELLS if cells is None else cells
    for name, batch in cells:
        if name not in attack.MODELS or batch < 1:
            raise ValueError(f"cells: {name}:{batch}, expected a model of {', '.join(attack.MODELS)} and a batch >= 1")
    threads = int(eb.info()["threads"]) if threads is None else threads
    before = _native.set_threads(threads)
    try:
        present, absent = peers.find(peer_names, progress)
        found = machine.measure(threads, seconds, repeats)
        lines, failed = _attacks(cells, present, threads, seconds, repeats, progress)
        return Run(
            epsball=eb.__version__,
            seconds=seconds,
            repeats=repeats,
            machine=found,
            attack=tuple(lines),
            absent=(*absent, *failed),
            scaling=tuple(scaling.measure(threads, seconds, repeats, largest, progress)) if with_scaling else None,
            overhead=overhead.measure(threads, seconds, repeats) if with_overhead else None,
        )
    finally:
        _native.set_threads(before)


def _attacks(
    cells: Sequence[tuple[str, int]],
    present: Sequence[peers.Peer],
    threads: int,
    seconds: float,
    repeats: int,
    progress: Progress,
) -> tuple[list[attack.Line], list[peers.Absent]]:
    lines: list[attack.Line] = []
    failed: list[peers.Absent] = []
    models = {name: attack.trained(name) for name, _ in cells}
    for done, (name, batch) in enumerate(cells):
        progress("attack", done, len(cells))
        measured, broken = attack.measure_cell(name, models[name], batch, present, threads, seconds, repeats)
        lines += measured
        failed += broken
    progress("attack", len(cells), len(cells))
    return lines, failed


# ---- tables, from the JSON form, so that a stored run prints like a fresh one ----


def tables(document: dict[str, Any]) -> list[tuple[str, Table, str]]:
    """Return title, table and caption of each part of a run's JSON form."""
    shown = [_machine_table(document), _attack_table(document)]
    shown += [_sweep_table(sweep) for sweep in document["scaling"] or ()]
    if document["overhead"]:
        shown.append(_overhead_table(document["overhead"]))
    return shown


def _machine_table(document: dict[str, Any]) -> tuple[str, Table, str]:
    found = document["machine"]
    rows = tuple(
        (str(threads), _spread(peak, 1), _spread(found["copy_gbs"][threads], 1))
        for threads, peak in found["fma_gflops"].items()
    )
    cache = "unknown" if found["l2_bytes"] is None else f"{found['l2_bytes'] >> 10:,} KiB"
    caption = f"{found['cpu']}, {found['logical_cpus']} CPUs, L2 {cache}, table {found['table']}"
    return "This machine", Table(("threads", "FMA GFLOP/s", "copy GB/s"), rows), caption


def _attack_table(document: dict[str, Any]) -> tuple[str, Table, str]:
    header = (
        *("model, batch", "contender", "sample-steps/s", "min, max", "GFLOP/s", "of FMA peak"),
        *("of best peer", "error after", "outside"),
    )
    rows = tuple(
        (
            f"{line['model']}, {line['batch']}",
            line["contender"],
            number(line["rate"]["median"]),
            _percents(line["rate"]),
            number(line["gflops"], 1),
            percent(line["peak_fraction"]),
            number(line["best_peer_ratio"], 2),
            percent(line["error"]),
            percent(line["outside"]),
        )
        for line in document["attack"]
    )
    absent = "".join(f"\nabsent: {peer['name']}: {peer['reason']}" for peer in document["absent"])
    threads, repeats = document["machine"]["threads"], document["repeats"]
    versions = dict.fromkeys(f"{line['contender']} {line['version']}" for line in document["attack"])
    settings = f"PGD-40, L∞, eps 0.3; threads: {threads}; medians of {repeats} interleaved rounds"
    caption = f"{settings}\n{', '.join(versions)}{absent}"
    return "Attack throughput", Table(header, rows), caption


def _sweep_table(sweep: dict[str, Any]) -> tuple[str, Table, str]:
    rows = tuple(
        (
            f"{point['value']:,}",
            number(1e3 * point["seconds"], 3),
            number(point["gflops"], 1),
            number(point["fma_gflops"], 1),
            number(None if point["slab_bytes"] is None else point["slab_bytes"] / 1024),
        )
        for point in sweep["points"]
    )
    header = (sweep["name"], "ms", "GFLOP/s", "FMA GFLOP/s", "slab KiB")
    typed = scaling.Sweep(**{**sweep, "points": tuple(scaling.Point(**point) for point in sweep["points"])})
    return f"Scaling with {sweep['name']}", Table(header, rows), "; ".join(scaling.sentences(typed))


def _overhead_table(document: dict[str, Any]) -> tuple[str, Table, str]:
    rows = [
        (f"one image, {call['model']}: beyond its arithmetic", f"{number(1e6 * call['overhead'], 1)} µs")
        for call in document["calls"]
    ]
    rows.append(("import beyond NumPy's", f"{number(1e3 * document['import_seconds']['median'], 1)} ms"))
    mib = 1 << 20
    for found in document["memory"]:
        memory = overhead.Memory(**found)
        spare = f"{memory.spare >> 20} MiB per thread"
        rows += [
            (f"peak memory, {memory.model}, {memory.rows:,} rows", f"{number(memory.peak / mib, 1)} MiB"),
            (f"its inputs + outputs + weights and packings + {spare}", f"{number(memory.promised / mib, 1)} MiB"),
        ]
    for sync in document["syncs"]:
        copy, what = sync["copy"]["median"], f"{number(sync['bytes'] / mib, 1)} MiB of weights"
        rows += [
            (f"sync_from_torch, {sync['model']}", f"{number(sync['sync']['median'] / copy, 1)} × a copy of {what}"),
            ("with the packing in the next call", f"{number(sync['packed'] / copy, 1)} × that copy"),
        ]
    absent = "" if document["syncs"] else "absent: sync_from_torch: torch is not installed"
    return "Overhead", Table(("what", "measured"), tuple(rows)), absent


def _percents(sample: dict[str, float]) -> str:
    """Write how far the lowest and highest measurements lie from the median: ``-3 +1 %``."""
    low, high = (100 * (sample[end] / sample["median"] - 1) for end in ("low", "high"))
    return f"{low:+.0f} {high:+.0f} %"


def _spread(sample: dict[str, float], digits: int = 0) -> str:
    low, high = number(sample["low"], digits), number(sample["high"], digits)
    return f"{number(sample['median'], digits)} ({low} – {high})"
