"""How numbers are written in tables, and tables as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ABSENT = "–"


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; the first column is a label, the others are numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """Return the table with aligned columns: labels to the left, numbers to the right."""
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        return "\n".join(_line(row, widths) for row in (self.header, *self.rows))

    def without_empty_columns(self) -> Table:
        """Return the table without the columns in which nothing but dashes stands."""
        columns = [i for i, cells in enumerate(zip(*self.rows, strict=True)) if i == 0 or {*cells} != {ABSENT}]
        return Table(tuple(self.header[i] for i in columns), tuple(tuple(row[i] for i in columns) for row in self.rows))

    def paragraphs(self) -> list[list[str]]:
        """Return each row as lines, its label and then the columns in which it has something, one to a line."""
        names = self.header[1:]
        width = max(map(len, names), default=0)

        def lines(row: tuple[str, ...]) -> list[str]:
            told = zip(names, row[1:], strict=True)
            return [row[0], *(f"  {name:{width}}  {cell}" for name, cell in told if cell != ABSENT)]

        return [lines(row) for row in self.rows]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    label, *numbers = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([label, *numbers]).rstrip()


def percent(fraction: float | None) -> str:
    """Write a fraction: 0.1234 as ``12.3%``, None as a dash."""
    return ABSENT if fraction is None else f"{100 * fraction:.1f}%"


def number(value: float | None, digits: int = 0) -> str:
    """Write a number with thousands separators: 212345.6 as ``212,346``, None as a dash."""
    return ABSENT if value is None else f"{value:,.{digits}f}"
