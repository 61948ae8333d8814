"""What commands print: tables and JSON on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
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

    shown = RichTable(title=title, caption=caption, caption_justify="left", title_justify="left", box=box.SIMPLE_HEAD)
    for index, (name, *cells) in enumerate(zip(content.header, *content.rows, strict=True)):
        longest = max(len(word) for word in (*name.split(), *" ".join(cells).split()))  # break between words only
        shown.add_column(name, justify="right" if index else "left", vertical="bottom", min_width=longest)
    for row in content.rows:
        shown.add_row(*row)
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(shown)


def note(text: str) -> None:
    """Say something on stderr."""
    print(text, file=sys.stderr)
