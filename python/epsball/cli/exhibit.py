"""`epsball exhibit`: what two lectures on adversarial examples show, computed again."""

from __future__ import annotations

from typing import Annotated

import typer

from epsball.cli import options
from epsball.exhibits import EXHIBITS


def exhibit(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which exhibit; see --list.")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the exhibits.")] = False,
    data: options.Data = "mnist-subset",
    report: options.Report = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Show what a lecture shows of adversarial examples, computed here and now."""
    if list_all != (name is None):
        raise typer.BadParameter("give either the name of an exhibit or --list")
    from epsball import exhibits, reports
    from epsball.cli import output

    if name is None:
        if json:
            output.json(EXHIBITS)
        else:
            output.facts(EXHIBITS)
        return
    key = name.replace("-", "_")
    if key not in EXHIBITS:
        raise typer.BadParameter(f"no exhibit {name!r}, expected one of {', '.join(EXHIBITS)}")
    if report is not None:
        reports.require()
    output.check_folder(report)
    found = exhibits.run(key, data, seed)
    if report is not None:
        from epsball.exhibits.page import exhibit_page
        from epsball.reports import files

        files.write_text(report / "exhibit.json", files.to_json(found.to_dict()) + "\n")
        files.write_text(report / "index.html", exhibit_page(found))
        output.note(f"Written: {report / 'index.html'}")
    if json:
        output.json(found.to_dict())
    else:
        shown = found.shown
        title = f"{found.title[0].upper()}{found.title[1:]}. {shown.lead}"
        output.table(shown.table, title=title, caption=f"{shown.caption}\nSource: {shown.source}")
