"""The page of an exhibit: what there is to see, its table, its curves, how it was made."""

from __future__ import annotations

from epsball.exhibits.base import Curves, Exhibit
from epsball.reports import figures, page


def exhibit_page(exhibit: Exhibit) -> str:
    """Return the page of an exhibit as HTML."""
    shown = exhibit.shown
    return page.render(
        page.Page(
            title=exhibit.title[0].upper() + exhibit.title[1:],
            lead=shown.lead,
            table=shown.table,
            table_caption=shown.caption,
            charts=() if shown.curves is None else (_chart(shown.curves),),
            strips=(),
            facts={
                "Exhibit": exhibit.name,
                "Source": shown.source,
                "Data": exhibit.data,
                "Seed": str(exhibit.seed),
                "Time": f"{exhibit.seconds:.0f} s",
                **page.surroundings(exhibit.environment, exhibit.date),
            },
        )
    )


def _chart(curves: Curves) -> page.Chart:
    ends = "; ".join(f"{name}: from {values[0]:.3g} to {values[-1]:.3g}" for name, values in curves.lines.items())
    return page.Chart(
        title=f"{curves.y_label[0].upper()}{curves.y_label[1:]}",
        svg=figures.lines(curves.lines, curves.x, curves.x_label, curves.y_label, logarithmic=curves.logarithmic),
        alt=f"{len(curves.lines)} curves over {curves.x_label}. {ends}.",
        caption=curves.caption,
    )
