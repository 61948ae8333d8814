"""Randomized smoothing: a classifier that votes over Gaussian noise, and the L2 radius in which its vote is proved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import BELOW_ONE, FLOAT32, check_seed, class_indices, number, whole
from epsball.arrays import Array, as_numpy
from epsball.attacks.base import on_host
from epsball.attacks.options import check_index
from epsball.classifier import Classifier
from epsball.evaluation.accuracy_interval import binomial_at_most, lower_limit
from epsball.evaluation.state import Found, State, identity
from epsball.files import fingerprint_of_rows
from epsball.machine import info
from epsball.reports.progress import Progress, check_progress, reporter
from epsball.reports.tables import Table, percent
from epsball.sources.base import LabelSource

ABSTAIN = -1
_SELECT, _ESTIMATE, _PREDICT = range(3)  # streams of noise that have nothing in common
_BATCH = 1000  # noisy copies that the model sees together


@dataclass(frozen=True)
class SmoothingCertificate:
    """What `Smoothed.certify` found, row by row.

    Attributes
    ----------
    predictions : ndarray of int64, shape (N,)
        The class that the vote is proved to be, or `ABSTAIN` (−1).
    radius : ndarray of float64, shape (N,)
        The L2 radius around the row within which it is, 0 where the vote abstains.
    sigma, draws, alpha
        Standard deviation of the noise, votes per row, and the probability that a row's statement is wrong.
    """

    predictions: npt.NDArray[np.int64]
    radius: npt.NDArray[np.float64]
    sigma: float
    draws: int
    alpha: float

    def accuracy(self, y: Any, radius: float = 0.0) -> float:
        """Return the share of rows proved right within an L2 radius: at least so much is robust there.

        Parameters
        ----------
        y
            (N,) true classes.
        radius
            ≥ 0.
        """
        labels = class_indices("y", y, len(self.predictions))
        return float(np.mean((self.predictions == labels) & (self.radius >= number("radius", radius))))

    def table(self, y: Any, radii: Any) -> Table:
        """Return certified accuracies over radii as they are shown, beside the share of rows that abstain."""
        lines = [(f"{r:g}", f"at least {percent(self.accuracy(y, r))}") for r in radii]
        abstained = float(np.mean(self.predictions == ABSTAIN))
        return Table(("l2 radius", "certified accuracy"), (*lines, ("abstains", percent(abstained))))


@dataclass
class Certified(Found):
    """Classes and radii, (N,), of the rows certified so far."""

    predictions: npt.NDArray[np.int64]
    radius: npt.NDArray[np.float64]


class Smoothed:
    """The classifier that says what a model says most often of x + N(0, sigma²) (Cohen et al. 2019, arXiv 1902.02918).

    Parameters
    ----------
    model
        Anything that predicts classes: an epsball model, a gradient source or a label source. Train it on such noise
        (`training.SmoothingTraining`).
    sigma
        Standard deviation of the noise, > 0.
    seed
        Of the noise, in [0, 2**64). A row's noise depends on the seed and the row's index alone.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """

    def __init__(self, model: Classifier | LabelSource, sigma: float = 0.25, seed: int = 0) -> None:
        if not isinstance(model, Classifier | LabelSource):
            raise TypeError(f"model: wanted an epsball model or source, got {type(model).__name__}")
        self.model = model
        self.sigma = number("sigma", sigma, 1e-9, float(FLOAT32.max))
        self.seed = check_seed(seed)

    def __repr__(self) -> str:
        return f"Smoothed({self.model!r}, sigma={self.sigma:g}, seed={self.seed})"

    def predict(self, x: Any, draws: int = 1000, alpha: float = 0.001, index: Any = None) -> npt.NDArray[np.int64]:
        """Return the class with the most votes, or −1 where a binomial test does not tell it from the second.

        Parameters
        ----------
        x
            (N, ...) inputs.
        draws
            Votes per row.
        alpha
            Probability that an answer is not the smoothed classifier's, in (0, 1).
        index
            (N,) integers that key each row's noise; None: 0 … N−1.

        Returns
        -------
        ndarray of int64, shape (N,)
            Classes, or `ABSTAIN`.
        """
        rows, ids, miss = self._arguments(x, index, alpha)
        answers = np.full(len(rows), ABSTAIN, np.int64)
        for i, row in enumerate(rows):
            votes = self._votes(row, ids[i], whole("draws", draws, 1), _PREDICT)
            order = np.argsort(-votes, kind="stable")
            first, both = int(votes[order[0]]), int(votes[order[:2]].sum())
            if min(1.0, 2 * binomial_at_most(both - first, both, 0.5)) <= miss:
                answers[i] = order[0]
        return answers

    def certify(
        self,
        x: Any,
        draws: int = 10_000,
        selection: int = 100,
        alpha: float = 0.001,
        index: Any = None,
        *,
        state: str | PathLike[str] | None = None,
        progress: bool | Progress = False,
    ) -> SmoothingCertificate:
        """Return the class of every row with the L2 radius in which no perturbation changes it.

        A first sample picks the class, a second one bounds its probability p from below (Clopper and Pearson 1934); the
        radius is sigma · Φ⁻¹(p), and rows with p ≤ 1/2 abstain.

        Parameters
        ----------
        x
            (N, ...) inputs.
        draws, selection
            Votes per row of the second and of the first sample. `draws` limits the radius: n unanimous votes prove
            p ≥ alpha^(1/n).
        alpha
            Probability that a row's statement is wrong, in (0, 1).
        index
            (N,) integers that key each row's noise; None: 0 … N−1. Parts of the rows, each with its own, are certified
            as all of them together would be.
        state
            A file, written after every row, from which a run that was killed goes on, as in `evaluate`.
        progress
            True shows a bar on stderr; a function is called with ("certify", rows done, of how many).

        Returns
        -------
        SmoothingCertificate
            Classes and radii.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named; a state that is damaged or of another run.
        """
        check_progress(progress)
        rows, ids, miss = self._arguments(x, index, alpha)
        draws, selection = whole("draws", draws, 1), whole("selection", selection, 1)
        found = Certified(np.full(len(rows), ABSTAIN, np.int64), np.zeros(len(rows)))
        run: dict[str, Any] = {}
        if state is not None:
            run = {
                **identity(self.model), "sigma": self.sigma, "seed": self.seed, "draws": draws, "selection": selection,
                "alpha": miss, "data": fingerprint_of_rows(rows, ids), "table": info()["chosen"],
            }  # fmt: skip
        kept = State(state, "epsball-smoothing", run, {"rows": {"certify": found}})
        with reporter(progress) as report:
            for part in kept.parts("certify", found, len(rows), report, chunk=1):
                row, key = rows[part.start], ids[part.start]
                chosen = int(self._votes(row, key, selection, _SELECT).argmax())
                votes = self._votes(row, key, draws, _ESTIMATE)
                p = _lower(int(votes[chosen]) if chosen < len(votes) else 0, draws, miss)
                if p > 0.5:
                    found.predictions[part], found.radius[part] = chosen, self.sigma * NormalDist().inv_cdf(p)
        return SmoothingCertificate(found.predictions, found.radius, self.sigma, draws, miss)

    def _arguments(self, x: Any, index: Any, alpha: float) -> tuple[Array, Array, float]:
        rows = as_numpy("x", on_host("x", x, self.model))
        if rows.dtype.kind != "f" or rows.ndim < 2:
            raise TypeError(f"x: wanted (N, ...) floating-point inputs, got {rows.dtype} of shape {rows.shape}")
        ids = np.arange(len(rows)) if index is None else check_index(index, len(rows))
        return rows, ids, number("alpha", alpha, float(np.nextafter(0, 1)), BELOW_ONE)

    def _votes(self, row: Array, index: int, draws: int, stream: int) -> npt.NDArray[np.int64]:
        """Return how often the model says each class of noisy copies of one row."""
        noise = np.random.default_rng([self.seed, int(index), stream])
        votes = np.zeros(0, np.int64)
        for first in range(0, draws, _BATCH):
            count = min(_BATCH, draws - first)
            copies = row.astype(np.float32) + np.float32(self.sigma) * noise.standard_normal(
                (count, *row.shape), np.float32
            )
            said = np.bincount(as_numpy("predictions", self.model.predict(copies)), minlength=len(votes))
            said[: len(votes)] += votes
            votes = said
        return votes


@lru_cache(maxsize=4096)
def _lower(right: int, rows: int, miss: float) -> float:
    return lower_limit(right, rows, miss)
