"""Write results.md from the JSON of `epsball bench --json`; with --readme also fill the README's table of figures."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from epsball.bench.run import tables
from epsball.reports.tables import Table, number, percent

ROOT = Path(__file__).resolve().parent.parent
# What the project set out to reach, as multiples of the fastest peer (benchmarks/README.md, "What must be reached").
WANTED = {
    ("softmax", 1): 5.0, ("softmax", 1000): 3.0, ("mlp", 1): 1.8, ("mlp", 128): 2.0, ("mlp", 1000): 1.6,
    ("cnn", 1): 10.0, ("cnn", 128): 6.0, ("large-cnn", 128): 2.5,
}  # fmt: skip
BLOCK = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- /figures -->)", re.DOTALL)


def markdown(table: Table) -> str:
    """Return a Markdown table: labels to the left, numbers to the right."""
    align = ("---", *["---:"] * (len(table.header) - 1))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (table.header, align, *table.rows))


def page(document: dict[str, Any]) -> str:
    """Return the whole run as Markdown."""
    parts = [f"# One run of `epsball bench`, epsball {document['epsball']}\n\nWritten by `table.py`; not edited."]
    for title, table, caption in tables(document):
        if not table.rows:
            continue
        lines = "".join(f"- {line}\n" for line in caption.splitlines())
        parts.append(f"## {title}\n\n{markdown(table)}\n\n{lines}".rstrip())
    return "\n\n".join(parts) + "\n"


def figures(document: dict[str, Any]) -> str:
    """Return the short table of the README: epsball beside the fastest peer of each row."""
    machine = document["machine"]
    threads = machine["threads"]
    peak = machine["fma_gflops"][str(threads)]["median"]
    header = ("model, batch", "sample-steps/s", "of FMA peak", "fastest peer", "its sample-steps/s", "ratio", "wanted",
              "at the peak")  # fmt: skip
    rows = tuple(_figure(document, line) for line in document["attack"] if line["contender"] == "epsball")
    contenders = dict.fromkeys(f"{line['contender']} {line['version']}" for line in document["attack"])
    absent = ", ".join(dict.fromkeys(peer["name"] for peer in document["absent"]))
    caption = (
        f"PGD, L∞, 40 steps on {machine['cpu']}, {threads} thread{'s' * (threads > 1)}, `{machine['table']}` kernels, "
        f"where the FMA loop reaches {number(peak)} GFLOP/s. A sample-step is one step on one row. *At the peak*: "
        "the ratio of an engine that computed every product at the FMA loop's rate. Medians of "
        f"{document['repeats']} interleaved rounds with {', '.join(contenders)}."
    )
    return f"{markdown(Table(header, rows))}\n\n{caption}" + (f" Absent: {absent}." if absent else "") + "\n"


def _figure(document: dict[str, Any], line: dict[str, Any]) -> tuple[str, ...]:
    cell = (line["model"], line["batch"])
    others = [other for other in document["attack"] if (other["model"], other["batch"]) == cell and other is not line]
    best = max(others, key=lambda other: other["rate"]["median"], default=None)
    return (
        f"{line['model']}, {line['batch']:,}",
        number(line["rate"]["median"]),
        percent(line["peak_fraction"]),
        "–" if best is None else best["contender"],
        number(None if best is None else best["rate"]["median"]),
        "–" if best is None else f"{number(line['best_peer_ratio'], 1)} ×",
        f"{number(WANTED[cell], 1)} ×" if cell in WANTED else "–",
        "–" if best is None else f"{number(1 / best['peak_fraction'], 1)} ×",
    )


def fill(readme: str, document: dict[str, Any]) -> str:
    """Return the README with the block between its figures comments replaced."""
    filled, count = BLOCK.subn(lambda _: figures(document), readme)
    if count != 1:
        raise ValueError("the README has no block <!-- figures --> ... <!-- /figures -->")
    return filled


def main() -> None:
    """Turn one run into pages; every figure on them comes from the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="what `epsball bench --json` printed")
    parser.add_argument("results", type=Path, nargs="?", default=ROOT / "benchmarks" / "results.md")
    parser.add_argument(
        "--readme", type=Path, nargs="?", const=ROOT / "README.md", help="fill this README (default: the repository's)"
    )
    arguments = parser.parse_args()
    document = json.loads(arguments.run.read_text())
    arguments.results.write_text(page(document))
    if arguments.readme is not None:
        arguments.readme.write_text(fill(arguments.readme.read_text(), document))


if __name__ == "__main__":
    main()
