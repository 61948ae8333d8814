"""What commands print: tables and JSON on stdout, everything else on stderr."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epsball.reports import files

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

    from epsball.reports.tables import Table


_PIPE_WIDTH = 120  # where there is neither a terminal nor COLUMNS to ask
_GAP = 2  # between columns


def json(document: Mapping[str, Any]) -> None:
    """Print one JSON document."""
    print(files.to_json(document))


def table(content: Table, title: str | None = None, caption: str | None = None) -> None:
    """Print a table with rich: labels to the left, numbers to the right; a column in which nothing stands is left out.

    Where not even the narrowest columns fit, each row is a paragraph of its own.
    """
    console = _console()
    content = content.without_empty_columns()
    least = _least_widths(content)
    fits = sum(least) + _GAP * (len(least) - 1) <= console.width
    shown = _table(content, _widths(content, least, console.width)) if fits else _paragraphs(content)
    for part in (title, shown, caption, ""):
        if part is not None:
            console.print(part)


def _table(content: Table, widths: list[int]) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable

    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for index, (name, width) in enumerate(zip(content.header, widths, strict=True)):
        header = "\n".join(_lines(name, width)) if index else name
        shown.add_column(header, justify="right" if index else "left", vertical="bottom", width=width)
    for row in content.rows:
        shown.add_row(*row)
    return shown


def _paragraphs(content: Table) -> str:
    return "\n\n".join(map("\n".join, content.paragraphs()))


def facts(entries: Mapping[str, str]) -> None:
    """Print names and what is said of them, in two columns of text."""
    from rich.table import Table as RichTable

    shown = RichTable.grid(padding=(0, _GAP))
    for name, text in entries.items():
        shown.add_row(name, text)
    _console().print(shown)


def _console() -> Console:
    from rich.console import Console

    asked = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if asked else _PIPE_WIDTH, highlight=False, markup=False)


def _pieces(header: str) -> list[str]:
    """Return a header's pieces between which it may break: behind spaces, hyphens and slashes."""
    return re.split(r"(?<=[ /-])", header)


def _lines(header: str, width: int) -> list[str]:
    """Break a header into lines of at most `width`."""
    lines = [""]
    for piece in _pieces(header):
        if len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _least_widths(content: Table) -> list[int]:
    """Return the narrowest columns: labels break between words, headers at hyphens and slashes too, numbers never."""
    labels, *numbers = zip(content.header, *content.rows, strict=True)
    words = " ".join(labels).split(" ")
    return [
        max(map(len, words)),
        *(max(len(text.rstrip()) for text in (*_pieces(header), *cells)) for header, *cells in numbers),
    ]


def _widths(content: Table, least: list[int], available: int) -> list[int]:
    """Return a width per column: headers break first, from the right; then labels."""
    widths = [max(map(len, column)) for column in zip(content.header, *content.rows, strict=True)]
    excess = sum(widths) + _GAP * (len(widths) - 1) - available
    for index in (*range(len(widths) - 1, 0, -1), 0):
        given = min(max(excess, 0), widths[index] - least[index])
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
