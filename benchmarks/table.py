"""Write results.md from the JSON of `epsball bench --json`: table.py RUN.json [results.md]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from epsball.bench.run import tables
from epsball.reports.tables import Table


def markdown(table: Table) -> str:
    """Return a Markdown table: labels to the left, numbers to the right."""
    align = ("---", *["---:"] * (len(table.header) - 1))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (table.header, align, *table.rows))


def main(source: Path, target: Path) -> None:
    """Turn one run into a page; every figure on it comes from the file."""
    document = json.loads(source.read_text())
    parts = [f"# One run of `epsball bench`, epsball {document['epsball']}\n\nWritten by `table.py`; not edited."]
    for title, table, caption in tables(document):
        lines = "".join(f"- {line}\n" for line in caption.splitlines())
        parts.append(f"## {title}\n\n{markdown(table)}\n\n{lines}".rstrip())
    target.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).with_name("results.md"))
