"""The demonstration: what an imperceptible step does to two models, and what adversarial training changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import epsball as eb
from epsball.reports.progress import Progress, silent
from epsball.reports.tables import Table, number, percent

if TYPE_CHECKING:
    from epsball.attacks.base import Attack
    from epsball.evaluation import EvaluationReport
    from epsball.model import Sequential
    from epsball.training import History

DATA = "mnist-subset"
# An MLP of this size learns nothing from PGD digits of a larger budget: at 0.25 it stays at chance. With a smaller one,
# or a smaller learning rate, FGSM training does not yet overfit to FGSM.
EPS = 0.15
EPOCHS = 15
LEARNING_RATE = 4e-3
TRAINING_STEPS = 5  # of PGD, in training and for the curves
ATTACK_STEPS = 40  # of PGD, in the table
CURVE_ROWS = 500  # of the test set, attacked after every epoch


@dataclass(frozen=True)
class Line:
    """One line of the table: a model, how it was trained and what attacks do to it.

    Errors and confidence are fractions in [0, 1]; ``confidence_on_mistakes`` is the mean probability of the
    predicted class over the rows that PGD turned or that were wrong anyway, None if there is none.
    """

    model: str
    training: str
    clean_error: float
    fgsm_error: float
    pgd_error: float
    confidence_on_mistakes: float | None
    training_seconds: float
    sample_steps_per_second: float


@dataclass(frozen=True)
class DemoResult:
    """What `run` did: the table, and what the figures need.

    Attributes
    ----------
    lines
        The table, one line per trained model.
    histories
        Errors per epoch of every training run, by the line's title (model and training).
    reports
        The evaluation behind each line.
    settings
        Data, rows, budget, steps, epochs and seed.
    environment
        `epsball.info()` at the time.
    date
        UTC, ISO 8601.
    seconds
        How long the whole demonstration took.
    """

    lines: tuple[Line, ...]
    histories: dict[str, History]
    reports: dict[str, EvaluationReport]
    settings: dict[str, Any]
    environment: dict[str, Any]
    date: str
    seconds: float

    def table(self) -> Table:
        """Return the table as it is shown."""
        header = (
            "model",
            "clean error",
            "FGSM error",
            "PGD error",
            "mean confidence on mistakes",
            "training seconds",
            "PGD sample-steps/s",
        )
        return Table(header, tuple(map(_cells, self.lines)))

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the images, ready for JSON."""
        return {
            "format": 1,
            "lines": [asdict(line) for line in self.lines],
            "histories": {title: history.to_dict() for title, history in self.histories.items()},
            "settings": self.settings,
            "environment": self.environment,
            "date": self.date,
            "seconds": self.seconds,
        }


def _cells(line: Line) -> tuple[str, ...]:
    return (
        f"{line.model}, {line.training}",
        percent(line.clean_error),
        percent(line.fgsm_error),
        percent(line.pgd_error),
        percent(line.confidence_on_mistakes),
        number(line.training_seconds, 1),
        number(line.sample_steps_per_second),
    )


def run(rows: int | None = None, seed: int = 0, progress: Progress = silent) -> DemoResult:
    """Train, attack, train adversarially and attack again, on the digits that ship with epsball.

    Parameters
    ----------
    rows
        Use only the first `rows` training and test digits (None: all 10,000 and 2,000).
    seed
        Of the initial weights, the order of the digits and the random starts.
    progress
        Called with (stage, done, total) while the work goes on.

    Returns
    -------
    DemoResult
        The table, the training histories and the evaluations.

    Raises
    ------
    ValueError
        `rows` is not positive.
    """
    if rows is not None and rows < 1:
        raise ValueError(f"rows: {rows} given, expected a positive number or None for all")
    start = perf_counter()
    train, test = ((x[:rows], y[:rows]) for x, y in (eb.datasets.load(DATA, split) for split in ("train", "test")))
    lines, histories, reports = [], {}, {}
    for name, build, training, method in _lessons(seed):
        title = f"{name}, {training}"
        model = build()
        history, seconds = _train(title, model, method, train, test, seed, progress)
        report = eb.evaluate(model, *test, attacks=_attacks(seed), progress=_under(title, progress))
        lines.append(_line(name, training, report, seconds))
        histories[title], reports[title] = history, report
    return DemoResult(
        lines=tuple(lines),
        histories=histories,
        reports=reports,
        settings={
            "data": DATA,
            "train_rows": len(train[0]),
            "test_rows": len(test[0]),
            "norm": "linf",
            "eps": EPS,
            "training_steps": TRAINING_STEPS,
            "attack_steps": ATTACK_STEPS,
            "epochs": EPOCHS,
            "learning_rate": LEARNING_RATE,
            "curve_rows": min(CURVE_ROWS, len(test[0])),
            "seed": seed,
        },
        environment=report.environment,
        date=report.date,
        seconds=perf_counter() - start,
    )


def _lessons(seed: int) -> list[tuple[str, Callable[[], Sequential], str, Any]]:
    """List what is trained: name, model, training in words, method."""

    def softmax() -> Sequential:
        return eb.models.linear(784, 10, seed=seed)

    def mlp() -> Sequential:
        return eb.models.mlp([784, 256, 256, 10], seed=seed)

    training = eb.training
    box = (0.0, 1.0)  # that of the attacks below
    return [
        ("softmax regression", softmax, "clean", training.Standard()),
        ("MLP 256-256", mlp, "clean", training.Standard()),
        ("MLP 256-256", mlp, "FGSM-trained", training.FGSMTraining(eps=EPS, bounds=box)),
        ("MLP 256-256", mlp, "PGD-trained", training.PGDTraining(eps=EPS, steps=TRAINING_STEPS)),
    ]


def _attacks(seed: int) -> list[Attack]:
    return [eb.attacks.FGSM(eps=EPS), eb.attacks.PGD(eps=EPS, steps=ATTACK_STEPS, seed=seed)]


Digits = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def _train(
    title: str, model: Sequential, method: Any, train: Digits, test: Digits, seed: int, progress: Progress
) -> tuple[History, float]:
    """Train in place; every run is watched under one and the same attack, so that the curves can be compared."""
    start = perf_counter()
    history = eb.fit(
        model,
        *train,
        method=method,
        epochs=EPOCHS,
        optimizer=eb.training.Adam(lr=LEARNING_RATE, schedule=eb.training.Cosine()),
        validation=(test[0][:CURVE_ROWS], test[1][:CURVE_ROWS]),
        monitor=eb.attacks.PGD(eps=EPS, steps=TRAINING_STEPS, seed=seed),
        seed=seed,
        progress=lambda done, epochs, _record: progress(f"train {title}", done, epochs),
    )
    return history, perf_counter() - start


def _under(title: str, progress: Progress) -> Progress:
    """Report an evaluation's stages under the model's title."""
    return lambda stage, done, total: progress(f"attack {title}: {stage}", done, total)


def _line(name: str, training: str, report: EvaluationReport, seconds: float) -> Line:
    fgsm, pgd = report.rows.values()
    return Line(
        model=name,
        training=training,
        clean_error=1 - report.clean_accuracy,
        fgsm_error=1 - fgsm["accuracy"],
        pgd_error=1 - pgd["accuracy"],
        confidence_on_mistakes=pgd["confidence_on_mistakes"],
        training_seconds=seconds,
        sample_steps_per_second=pgd["sample_steps_per_second"],
    )
