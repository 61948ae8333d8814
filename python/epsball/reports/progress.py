"""Progress bars on stderr, and the callback by which long jobs drive them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

#: Called with a stage's name, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


def check_progress(value: Any) -> None:
    """Raise unless `value` says whether to show bars, or is a function to call instead."""
    if not callable(value) and not isinstance(value, bool | np.bool_):
        raise TypeError(f"progress: wanted True, False or a function, got {value!r}")


def silent(_stage: str, _done: int, _total: int) -> None:
    """Show nothing."""


@contextmanager
def bars() -> Iterator[Progress]:
    """Yield a callback that keeps one rich bar per stage, on stderr."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as display:
        tasks: dict[str, progress.TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = display.add_task(stage, total=total)
            display.update(tasks[stage], completed=done, total=total)

        yield show


def reporter(progress: bool | Progress) -> AbstractContextManager[Progress]:
    """Return what tells a job's progress: the caller's function, bars, or nothing."""
    if callable(progress):
        return nullcontext(progress)
    return bars() if progress else nullcontext(silent)
