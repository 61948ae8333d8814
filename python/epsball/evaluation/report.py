"""What an evaluation found: as a table, a JSON document and a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from epsball.evaluation.accuracy_interval import AccuracyInterval, accuracy_interval
from epsball.reports import files
from epsball.reports.examples import Examples
from epsball.reports.tables import ABSENT, Table, number, percent

Bools = npt.NDArray[np.bool_]

FORMAT = 1  # version of the JSON document


class AttackRow(TypedDict):
    """One attack's line: see `EvaluationReport.rows`."""

    accuracy: float
    confidence_on_mistakes: float | None
    median_distance: float | None
    queries_to_success: float | None
    seconds: float
    sample_steps_per_second: float


@dataclass(frozen=True)
class EvaluationReport:
    """What `evaluate` found. Fractions are in [0, 1].

    Accuracies under attack are upper bounds: an attack that finds nothing does not prove that there is nothing.

    Attributes
    ----------
    clean_accuracy
        Fraction of rows that the model gets right.
    robust_accuracy
        Fraction of rows that it gets right clean and under every attack; the mean of `robust`.
    rows
        For each attack by name: ``accuracy`` (fraction right on what the attack returned),
        ``confidence_on_mistakes`` (mean probability of the predicted class over the rows that are wrong),
        ``median_distance`` (in the attack's norm, over the rows that were right and were turned),
        ``queries_to_success`` (the median of the forward passes spent on those until the first success, for attacks
        with early_stop, which end there), each None where there is no such row, ``seconds``, and
        ``sample_steps_per_second`` (rows × steps × restarts, fewer where rows stopped early, per second).
    robust : ndarray of bool, shape (N,)
        The rows that are right clean and under every attack.
    attacks
        For each attack by name, its configuration (`Attack.to_dict`).
    model
        The model in words.
    environment
        `epsball.info()` at the time: version, CPU, table, threads.
    date
        UTC, ISO 8601.
    examples
        A few images under the strongest attack, None where the inputs are not images.
    certified : dict of ndarray of bool, shape (N,)
        For each certificate by name, the rows that it proves right: their share is a lower bound of robust accuracy in
        the certificate's ball.
    certificates
        For each certificate by name, its configuration (`Certificate.to_dict`).
    """

    clean_accuracy: float
    robust_accuracy: float
    rows: dict[str, AttackRow]
    robust: Bools
    attacks: dict[str, dict[str, Any]]
    model: str
    environment: dict[str, Any]
    date: str
    examples: Examples | None
    certified: dict[str, Bools] = field(default_factory=dict)
    certificates: dict[str, dict[str, Any]] = field(default_factory=dict)

    def table(self) -> Table:
        """Return the results as they are shown: one line per attack, then the worst case, then what is certified."""
        lines = [("none (clean)", percent(self.clean_accuracy), *_dashes(5))]
        for name, row in self.rows.items():
            cells = (
                f"at most {percent(row['accuracy'])}",
                percent(row["confidence_on_mistakes"]),
                number(row["median_distance"], 3),
                number(row["queries_to_success"]),
                number(row["seconds"], 2),
                number(row["sample_steps_per_second"]),
            )
            lines.append((name, *cells))
        lines.append(("worst case per row", f"at most {percent(self.robust_accuracy)}", *_dashes(5)))
        for name, rows in self.certified.items():
            lines.append((f"certified: {name}", f"at least {percent(float(rows.mean()))}", *_dashes(5)))
        header = ("attack", "accuracy", "confidence on mistakes", "median distance", "queries to success", "seconds",
                  "sample-steps/s")  # fmt: skip
        return Table(header, tuple(lines))

    def __str__(self) -> str:
        """Return a plain table, and the robust accuracy with its interval."""
        return f"{self.model}, {len(self.robust)} rows\n{self.table()}\nrobust accuracy: {self.interval}"

    @property
    def interval(self) -> AccuracyInterval:
        """The robust accuracy with its 95 % interval; it reads "at most"."""
        return accuracy_interval(self.robust)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the example images, ready for JSON."""
        return {
            "format": FORMAT,
            "model": self.model,
            "row_count": len(self.robust),
            "clean_accuracy": self.clean_accuracy,
            "robust_accuracy_at_most": self.robust_accuracy,
            "robust_accuracy_interval": [self.interval.lower, self.interval.upper],
            "rows": self.rows,
            "attacks": self.attacks,
            "robust": self.robust,
            "certified_accuracy_at_least": {name: float(rows.mean()) for name, rows in self.certified.items()},
            "certified": self.certified,
            "certificates": self.certificates,
            "environment": self.environment,
            "date": self.date,
        }

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict` to a file (temporary name, then rename)."""
        files.write_text(path, files.to_json(self.to_dict()) + "\n")

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write a self-contained HTML page (temporary name, then rename).

        Raises
        ------
        ImportError
            The ``report`` extra is not installed.
        """
        files.write_text(path, evaluation_page(self))


def evaluation_page(report: EvaluationReport) -> str:
    """Return the page of an evaluation: its table, a strip of images, how it was made."""
    from epsball.reports import page  # needs the report extra

    rows = len(report.robust)
    strips = () if report.examples is None else (page.strip("What the strongest attack did", report.examples),)
    return page.render(
        page.Page(
            title="Robustness evaluation",
            lead=f"Of {rows:,} inputs the model gets {percent(report.clean_accuracy)} right, and at most "
            f"{percent(report.robust_accuracy)} whichever of these attacks each of them meets.{_proved(report)}",
            table=report.table(),
            table_caption=f"{page.BOUND} Mistakes are the rows that are wrong under the attack. Distances are in the "
            "attack's own norm, over the rows that were right and were turned; queries to success are the median of "
            "their forward passes, for attacks that stop at the first success.",
            charts=(_chart(report),),
            strips=strips,
            facts={"Model": report.model, "Inputs": f"{rows:,}", **page.surroundings(report.environment, report.date)},
        )
    )


def _chart(report: EvaluationReport) -> Any:
    """Return the accuracies as a page's chart: upper bounds, and below them what is proved."""
    from epsball.reports import figures, page

    interval = report.interval
    bars = [
        figures.Bar("none (clean)", report.clean_accuracy, "clean"),
        *(figures.Bar(name, row["accuracy"], "at most") for name, row in report.rows.items()),
        figures.Bar("worst case per row", report.robust_accuracy, "at most", (interval.lower, interval.upper)),
        *(figures.Bar(name, float(rows.mean()), "at least") for name, rows in report.certified.items()),
    ]
    said = {"clean": "", "at most": "at most ", "at least": "at least "}
    return page.Chart(
        title="Accuracy",
        svg=figures.bars(bars, "accuracy", {"clean": "#999999", "at most": "#d6604d", "at least": "#4393c3"}),
        alt="; ".join(f"{bar.label}: {said[bar.kind]}{percent(bar.share)}" for bar in bars) + ".",
        caption=f"The line across the worst case is the {100 * interval.confidence:g}% interval of what these attacks "
        "would leave of all rows there are.",
    )


def _proved(report: EvaluationReport) -> str:
    """Say what the certificates prove."""
    proofs = (f"{percent(float(rows.mean()))} ({name})" for name, rows in report.certified.items())
    text = ", ".join(proofs)
    return f" Proved robust are at least {text}." if text else ""


def _dashes(count: int) -> tuple[str, ...]:
    return (ABSENT,) * count
