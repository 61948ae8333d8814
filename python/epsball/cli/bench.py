"""`epsball bench`: attack throughput beside the machine's limits and installed peers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from epsball.cli import options


def bench(
    models: Annotated[str, typer.Option(help="Models, separated by commas.", metavar="NAME,...")] = "softmax,mlp",
    batches: Annotated[str, typer.Option(help="Batch sizes, separated by commas.", metavar="N,...")] = "1,128,1000",
    rows: Annotated[
        str | None, typer.Option(help="Rows of the table instead of all of them.", metavar="MODEL:BATCH,...")
    ] = None,
    peers: Annotated[
        str | None, typer.Option(help="Peers to run beside epsball.  [default: all]", metavar="NAME,...")
    ] = None,
    no_peers: Annotated[bool, typer.Option("--no-peers", help="Measure epsball alone.")] = False,
    scaling: Annotated[
        bool, typer.Option("--scaling", help="How cost grows with rows, steps, width, depth, slab and threads.")
    ] = False,
    overhead: Annotated[
        bool, typer.Option("--overhead", help="Cost of a call, of the import, and peak memory.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw the scaling to this image file (needs matplotlib).")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.001, help="Time per contender and row of the table.")] = 1.0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of every contender.  [default: what epsball uses]")
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure attack throughput: FMA peak, sample-steps/s and the ratio to each installed peer."""
    from epsball.bench import run as benchmark
    from epsball.bench import scaling as sweeps
    from epsball.cli import output
    from epsball.reports import progress

    cells = _cells(rows, models, batches)
    with progress.bars() as bars:
        found = benchmark.run(
            cells,
            [] if no_peers else peers.split(",") if peers else None,
            with_scaling=scaling or plot is not None,
            with_overhead=overhead,
            seconds=seconds,
            threads=threads,
            progress=bars,
        )
    if plot is not None:
        sweeps.plot(found.scaling or (), plot)
    if json:
        output.json(found.to_dict())
        return
    for title, table, caption in found.tables():
        output.table(table, title=title, caption=caption)
    for sweep in () if plot else found.scaling or ():
        print(f"\n{sweep.name}\n{sweeps.bars(sweep)}")


def _cells(rows: str | None, models: str, batches: str) -> list[tuple[str, int]]:
    """Read ``mlp:1000,softmax:1``, or every model with every batch."""
    from epsball.bench.attack import MODELS

    texts = (
        rows.split(",") if rows else [f"{model}:{batch}" for model in models.split(",") for batch in batches.split(",")]
    )
    cells = []
    for text in texts:
        model, _, batch = text.partition(":")
        if model not in MODELS or not batch.isdecimal() or int(batch) < 1:
            raise typer.BadParameter(f"no row {text!r}, expected a model of {', '.join(MODELS)} and a batch: mlp:1000")
        cells.append((model, int(batch)))
    return cells
