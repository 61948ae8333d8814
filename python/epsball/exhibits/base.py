"""What exhibits share: their digits, what they return, and a few lines of measuring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

import epsball as eb
from epsball.model import Sequential
from epsball.reports import files
from epsball.reports.tables import Table
from epsball.training.method import Method

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

LECTURE = "I. Goodfellow, Adversarial Examples and Adversarial Training, CS231n, 2017"
OVERVIEW = "I. Goodfellow, Defense Against the Dark Arts, 2018, arXiv 1806.04169"

MOST_TRAINED, MOST_TESTED = 10_000, 2_000  # rows; what the packaged subset has


@dataclass(frozen=True)
class Digits:
    """Training rows x (N, 1, 28, 28) with classes y (N,), and test rows xt with yt."""

    x: Floats
    y: Labels
    xt: Floats
    yt: Labels


def load(data: str) -> Digits:
    """Return the first rows of a data set."""
    x, y = eb.datasets.load(data, "train")
    xt, yt = eb.datasets.load(data, "test")
    return Digits(x[:MOST_TRAINED], y[:MOST_TRAINED], xt[:MOST_TESTED], yt[:MOST_TESTED])


@dataclass(frozen=True)
class Curves:
    """Curves over one axis; `lines` has their values by name."""

    x: Sequence[float]
    x_label: str
    y_label: str
    lines: Mapping[str, Sequence[float]]
    caption: str
    logarithmic: bool = False


@dataclass(frozen=True)
class Shown:
    """What an exhibit's `show` returns.

    Attributes
    ----------
    source
        The item of a lecture, and the paper behind it.
    lead
        What there is to see, in a sentence or two, with the numbers that were found.
    table, caption
        The numbers as they are shown, and how they were made.
    findings
        The same as numbers, ready for JSON.
    curves
        What the page draws.
    """

    source: str
    lead: str
    table: Table
    caption: str
    findings: dict[str, Any]
    curves: Curves | None = None


@dataclass(frozen=True)
class Exhibit:
    """An exhibit that was computed: what it shows, and the circumstances.

    Attributes
    ----------
    name, title
        Of `exhibits.EXHIBITS`.
    shown
        Table, findings and curves.
    data, seed
        As given.
    environment
        `epsball.info()` at the time.
    date
        UTC, ISO 8601.
    seconds
        How long it took.
    """

    name: str
    title: str
    shown: Shown
    data: str
    seed: int
    environment: dict[str, Any]
    date: str
    seconds: float

    @classmethod
    def made(
        cls, name: str, title: str, show: Callable[[Digits, int], Shown], digits: Digits, data: str, seed: int
    ) -> Exhibit:
        """Run `show`, and note when, where and for how long."""
        start = perf_counter()
        shown = show(digits, seed)
        date = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return cls(name, title, shown, data, seed, eb.info(), date, perf_counter() - start)

    def __str__(self) -> str:
        """Return what is to be seen, and a plain table."""
        return f"{self.title}\n{self.shown.lead}\n{self.shown.table}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "format": 1,
            "exhibit": self.name,
            "title": self.title,
            "source": self.shown.source,
            "lead": self.shown.lead,
            "findings": files.plain(self.shown.findings),
            "data": self.data,
            "seed": self.seed,
            "environment": self.environment,
            "date": self.date,
            "seconds": self.seconds,
        }


def trained(
    model: Sequential, x: Floats, y: Labels, epochs: int, seed: int, method: Method | None = None, **options: Any
) -> Sequential:
    """Train a model in place and return it; nothing is monitored, which would cost time."""
    eb.fit(model, x, y, epochs=epochs, seed=seed, method=method, monitor=eb.attacks.FGSM(0.0, bounds=None), **options)
    return model


def error(model: Any, x: Any, y: Labels) -> float:
    """Return the share of rows that the model takes for another class than y."""
    return float(np.mean(np.asarray(model.predict(x)) != y))


def random_signs(shape: tuple[int, ...], seed: int) -> Floats:
    """Return −1 and 1 at random."""
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), shape)
