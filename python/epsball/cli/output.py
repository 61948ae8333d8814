"""What commands print: tables and JSON on stdout, everything else on stderr."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epsball.reports import files

if TYPE_CHECKING:
    from epsball.reports.tables import Table


_PIPE_WIDTH = 120  # where there is no terminal to ask


def json(document: Mapping[str, Any]) -> None:
    """Print one JSON document."""
    print(files.to_json(document))


def table(content: Table, title: str | None = None, caption: str | None = None) -> None:
    """Print a table with rich: labels to the left, numbers to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    shown = RichTable(
        title=title, caption=caption, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    widths = _widths(content, console.width)
    for index, (name, width) in enumerate(zip(content.header, widths, strict=True)):
        shown.add_column(name, justify="right" if index else "left", vertical="bottom", width=width)
    for row in content.rows:
        shown.add_row(*row)
    console.print(shown)


def _widths(content: Table, available: int) -> list[int]:
    """Return a width per column: headers break first, between words; then labels; numbers never."""
    columns = list(zip(content.header, *content.rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    excess = sum(widths) + 3 * len(columns) - 1 - available
    for index in (*range(len(columns) - 1, 0, -1), 0):
        header, *cells = columns[index]
        least = max(map(len, " ".join([header, *cells] if index == 0 else header.split() + cells).split(" ")))
        given = min(max(excess, 0), widths[index] - least)
        widths[index] -= given
        excess -= given
    return widths


def check_file(path: Path | None) -> None:
    """Raise OSError if no file can be written beside `path`: called before the work whose result goes there."""
    if path is None:
        return
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(f"{path}: cannot be written: {error.strerror}") from error


def check_folder(path: Path | None) -> None:
    """Make a folder and raise OSError if nothing can be written there."""
    if path is not None:
        path.mkdir(parents=True, exist_ok=True)
        check_file(path / "index.html")


def note(text: str) -> None:
    """Say something on stderr."""
    print(text, file=sys.stderr)
