"""`epsball bench`: attack throughput beside the machine's limits and installed peers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from epsball.cli import options


def bench(
    rows: Annotated[
        str | None, typer.Option(help="Rows of the table.  [default: all]", metavar="MODEL:BATCH,...")
    ] = None,
    peers: Annotated[
        str | None, typer.Option(help="Peers to run beside epsball.  [default: all]", metavar="NAME,...")
    ] = None,
    no_peers: Annotated[bool, typer.Option("--no-peers", help="Measure epsball alone.")] = False,
    scaling: Annotated[
        bool, typer.Option("--scaling", help="How cost grows with rows, steps, width, depth, slab and threads.")
    ] = False,
    overhead: Annotated[
        bool, typer.Option("--overhead", help="Cost of a call, of the import and of new weights, and peak memory.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw the scaling to this image file (needs matplotlib).")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.001, help="Time per contender and row of the table.")] = 1.0,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=options.CORES, help="Threads of every contender.  [default: what epsball uses]"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure attack throughput: FMA peak, sample-steps/s and the ratio to each installed peer."""
    from epsball.bench import run as benchmark
    from epsball.bench import scaling as sweeps
    from epsball.cli import output
    from epsball.reports import progress

    cells = _cells(rows)
    chosen = _peers(peers, no_peers)
    if plot is not None:
        sweeps.check_plot(plot)
        output.check_file(plot)
    with progress.bars() as bars:
        found = benchmark.run(
            cells,
            chosen,
            with_scaling=scaling or plot is not None,
            with_overhead=overhead,
            seconds=seconds,
            threads=threads,
            progress=bars,
        )
    if json:
        output.json(found.to_dict())
    else:
        for title, table, caption in found.tables():
            output.table(table, title=title, caption=caption)
        for sweep in () if plot else found.scaling or ():
            print(f"\n{sweep.name}\n{sweeps.bars(sweep)}")
    if plot is not None:  # last, so that a plot that fails loses no figures
        sweeps.plot(found.scaling or (), plot)


def _peers(names: str | None, none: bool) -> list[str] | None:
    """Read ``torch,art``; None means the default peers."""
    from epsball.bench.peers import PEERS

    if none and names is not None:
        raise typer.BadParameter("--peers and --no-peers exclude each other")
    if names is None:
        return [] if none else None
    chosen = options.listed(names)
    if unknown := [name for name in chosen if name not in PEERS]:
        raise typer.BadParameter(f"--peers: no peer {unknown[0]!r}, expected some of {', '.join(PEERS)}")
    return chosen


def _cells(rows: str | None) -> list[tuple[str, int]] | None:
    """Read ``mlp:1000,cnn:1``; None means all rows."""
    from epsball.bench.attack import MODELS

    if rows is None:
        return None
    cells = []
    for text in options.listed(rows):
        model, _, batch = text.partition(":")
        if model not in MODELS or not batch.isdecimal() or int(batch) < 1:
            raise typer.BadParameter(f"no row {text!r}, expected a model of {', '.join(MODELS)} and a batch: mlp:1000")
        cells.append((model, int(batch)))
    return cells
