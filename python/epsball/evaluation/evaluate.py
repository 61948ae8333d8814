"""One model against a list of attacks: accuracy on clean inputs, under each attack, and in the worst case per row."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timezone
from os import PathLike
from time import perf_counter
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from epsball.arrays import as_numpy
from epsball.attacks.base import Attack, check_model
from epsball.classifier import Classifier
from epsball.evaluation.accuracy_interval import AccuracyInterval, accuracy_interval
from epsball.machine import info
from epsball.reports import files
from epsball.reports.examples import Examples
from epsball.reports.progress import Progress, bars, check_progress, silent
from epsball.reports.tables import ABSENT, Table, number, percent
from epsball.sources.base import GradientSource, LabelSource

Bools = npt.NDArray[np.bool_]

FORMAT = 1  # version of the JSON document
_EXAMPLES = 10


class AttackRow(TypedDict):
    """One attack's line: see `EvaluationReport.rows`."""

    accuracy: float
    confidence_on_mistakes: float | None
    median_distance: float | None
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
        ``median_distance`` (in the attack's norm, over the rows that were right and were turned), both None
        where there is no such row, ``seconds``, and ``sample_steps_per_second`` (rows × steps × restarts,
        fewer where rows stopped early, per second).
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

    def table(self) -> Table:
        """Return the results as they are shown: one line per attack, then the worst case."""
        lines = [("none (clean)", percent(self.clean_accuracy), *_dashes(4))]
        for name, row in self.rows.items():
            cells = (
                f"at most {percent(row['accuracy'])}",
                percent(row["confidence_on_mistakes"]),
                number(row["median_distance"], 3),
                number(row["seconds"], 2),
                number(row["sample_steps_per_second"]),
            )
            lines.append((name, *cells))
        lines.append(("worst case per row", f"at most {percent(self.robust_accuracy)}", *_dashes(4)))
        return Table(
            ("attack", "accuracy", "confidence on mistakes", "median distance", "seconds", "sample-steps/s"),
            tuple(lines),
        )

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
            f"{percent(report.robust_accuracy)} whichever of these attacks each of them meets.",
            table=report.table(),
            table_caption=f"{page.BOUND} Mistakes are the rows that are wrong under the attack. Distances are in the "
            "attack's own norm, over the rows that were right and were turned.",
            charts=(),
            strips=strips,
            facts={"Model": report.model, "Inputs": f"{rows:,}", **page.surroundings(report.environment, report.date)},
        )
    )


def evaluate(
    model: Classifier | LabelSource,
    x: npt.NDArray[Any],
    y: npt.ArrayLike,
    attacks: Sequence[Attack],
    *,
    progress: bool | Progress = False,
) -> EvaluationReport:
    """Measure accuracy on clean inputs, under each attack, and in the worst case per row.

    Parameters
    ----------
    model
        The model to attack: epsball's own, a gradient source, or a label source, whose every answer counts as a query.
    x : array, shape (N, ...)
        Inputs.
    y : array of int, shape (N,)
        True classes.
    attacks
        Untargeted attacks; each is run on every row. For a label source there may be none.
    progress
        True shows bars on stderr; a function is called with (name of the attack, 0 or 1, 1).

    Returns
    -------
    EvaluationReport
        A row counts as robust if the model gets it right clean and under every attack.

    Raises
    ------
    TypeError
        An element of `attacks` is not an attack.
    ValueError
        `attacks` is empty or holds a targeted attack, or `y` does not hold one class per row of `x`.
    """
    check_progress(progress)
    labels = _check(model, x, y, attacks)
    clean = as_numpy("predictions", model.predict(x))
    named = _named(attacks)
    with _reporter(progress) as report:
        outcomes = [_run(name, attack, model, x, labels, clean, report) for name, attack in named.items()]
    robust = np.logical_and.reduce([clean == labels, *(outcome.right for outcome in outcomes)])
    # Of equals the later one: lists of attacks usually end with the strongest.
    strongest = min(reversed(outcomes), key=lambda outcome: int(outcome.right.sum()), default=None)
    return EvaluationReport(
        clean_accuracy=float(np.mean(clean == labels)),
        robust_accuracy=float(robust.mean()),
        rows={name: outcome.row for name, outcome in zip(named, outcomes, strict=True)},
        robust=robust,
        attacks={name: attack.to_dict() for name, attack in named.items()},
        model=repr(model),
        environment=info(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        examples=strongest.examples if strongest else None,
    )


@dataclass(frozen=True)
class _Outcome:
    """What one attack did: its line of the table, the rows still right, the images to show."""

    row: AttackRow
    right: Bools
    examples: Examples | None


def _run(
    name: str,
    attack: Attack,
    model: Classifier | LabelSource,
    x: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    clean: npt.NDArray[np.int64],
    report: Progress,
) -> _Outcome:
    """Run one attack; `clean` are the predictions on the clean rows."""
    report(name, 0, 1)
    start = perf_counter()
    result = attack.run(model, x, labels)
    seconds = perf_counter() - start
    predictions, confidences = _answers(model, result.x_adv)
    right = predictions == labels
    turned = np.asarray(result.distance)[(clean == labels) & ~right]
    row: AttackRow = {
        "accuracy": float(right.mean()),
        "confidence_on_mistakes": _confidence(confidences, ~right),
        "median_distance": float(np.median(turned)) if turned.size else None,
        "seconds": seconds,
        "sample_steps_per_second": _sample_steps(attack, model, x, result.queries) / seconds,
    }
    examples = None
    if np.ndim(x) == 4 and confidences is not None:
        first = np.unique(labels, return_index=True)[1][:_EXAMPLES]
        before, after = (np.asarray(images[first], np.float32) for images in (x, result.x_adv))
        examples = Examples(name, before, after, labels[first], clean[first], predictions[first], confidences[first])
    report(name, 1, 1)
    return _Outcome(row, right, examples)


def _check(
    model: Classifier | LabelSource, x: npt.NDArray[Any], y: npt.ArrayLike, attacks: Sequence[Attack]
) -> npt.NDArray[np.int64]:
    """Return the labels; the error names the argument. A label source is asked nothing before all is checked."""
    if not isinstance(model, LabelSource):
        check_model(model)
    shape = as_numpy("x", x).shape
    if not shape or shape[0] == 0:
        raise ValueError(f"x: wanted at least one row, got shape {shape}")
    labels = as_numpy("y", y)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"y: wanted integer class indices, got {labels.dtype}")
    if labels.shape != shape[:1]:
        raise ValueError(f"y: wanted one class per row of x, shape {shape[:1]}, got shape {labels.shape}")
    if not isinstance(attacks, Sequence):
        raise TypeError(f"attacks: wanted a list of attacks, got {attacks!r}")
    if not attacks and not isinstance(model, LabelSource):
        raise ValueError("attacks: wanted at least one attack, got none")
    for attack in attacks:
        if not isinstance(attack, Attack):
            raise TypeError(f"attacks: wanted attacks such as epsball.attacks.PGD(eps=0.3), got {attack!r}")
        if attack.needs == "gradients":
            check_model(model)
        if getattr(attack, "targeted", False):
            raise ValueError(f"attacks: wanted untargeted attacks (y holds the true classes), got {attack!r}")
    return labels.astype(np.int64)


def _named(attacks: Sequence[Attack]) -> dict[str, Attack]:
    """Name attacks by class, steps and budget; a number tells those apart that differ in other ways."""
    named: dict[str, Attack] = {}
    for attack in attacks:
        name = base = describe(attack)
        count = 1
        while name in named:
            count += 1
            name = f"{base} ({count})"
        named[name] = attack
    return named


def describe(attack: Attack) -> str:
    """Write an attack in a few words: ``PGD-40×10 linf eps=0.3``."""
    steps, restarts = getattr(attack, "steps", 1), getattr(attack, "restarts", 1)
    name = type(attack).__name__ + (f"-{steps}" if steps > 1 else "") + (f"×{restarts}" if restarts > 1 else "")
    eps = getattr(attack, "eps", None)
    budget = "" if eps is None else f" eps={eps:g}" if np.ndim(eps) == 0 else " eps per row"
    return f"{name} {getattr(attack, 'norm', 'linf')}{budget}"


def _answers(
    model: Classifier | LabelSource, x: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32] | None]:
    """Return the predicted class of each row and, where the model has it, its probability."""
    if isinstance(model, LabelSource):
        return np.asarray(model.predict(x)), None
    probabilities = np.asarray(model.probabilities(x))
    if probabilities.shape[1] == 1:  # a logistic model gives the probability of class 1 only
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    return np.asarray(model.predict(x)), probabilities.max(axis=1)


def _confidence(confidences: npt.NDArray[np.float32] | None, wrong: Bools) -> float | None:
    """Return the mean probability of the predicted class over the wrong rows, if there is any."""
    return None if confidences is None or not wrong.any() else float(confidences[wrong].mean(dtype=np.float64))


def _sample_steps(
    attack: Attack, model: Classifier | LabelSource, x: npt.NDArray[Any], queries: npt.NDArray[np.int64]
) -> int:
    """Count the steps done: a run of k forward passes made k - 1; single-step attacks make one."""
    steps = getattr(attack, "steps", None)
    if steps is None:
        return len(queries)
    # Judged once more: other dtypes as they are stored, rows that left a source early as all of them together.
    again = as_numpy("x", x).dtype != np.float32
    again |= isinstance(model, GradientSource) and getattr(attack, "early_stop", False)
    passes = queries - again
    return int((passes - np.ceil(passes / (steps + 1))).sum())


def _dashes(count: int) -> tuple[str, ...]:
    return (ABSENT,) * count


def _reporter(progress: bool | Progress) -> AbstractContextManager[Progress]:
    if callable(progress):
        return nullcontext(progress)
    return bars() if progress else nullcontext(silent)
