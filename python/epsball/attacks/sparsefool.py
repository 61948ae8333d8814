"""SparseFool: few features, to the boundary that DeepFool finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from epsball.arguments import FLOAT32, number, settle
from epsball.arrays import Array, as_numpy
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.deepfool import DeepFool
from epsball.attacks.score_search import Doubles, ScoreSearch
from epsball.classifier import Classifier
from epsball.sources.base import pulled_back

CROSSED = 1e-3  # how far behind the plane a point shall lie, as the authors have it


@dataclass(frozen=True, eq=False)
class SparseFool(Attack):
    """Few features that change far, within the box (Modas et al. 2019, arXiv 1811.02248).

    A step asks `DeepFool` for the boundary, goes `lam` times as far, takes the plane that the model is there, and moves
    x onto it by as few features as possible: those of the steepest slope first, each as far as the box lets it. A row
    leaves when it is misclassified; one that never is returns x itself.

    Parameters
    ----------
    steps
        The most steps that a row takes.
    lam
        How far from x the plane is taken, in units of DeepFool's distance, ≥ 1: larger is surer and less sparse.
    overshoot
        How much further than onto the plane x moves, as a share; DeepFool's is 0.02.
    bounds
        The box, which must be finite.
    mask
        As in `PGD`.
    norm
        Which distance is reported: "l0".
    """

    norms: ClassVar[tuple[str, ...]] = ("l0",)
    reads_x: ClassVar[bool] = True

    steps: int = 20
    lam: float = 3.0
    overshoot: float = 0.02
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    norm: str = "l0"

    def __post_init__(self) -> None:
        super().__post_init__()
        most = float(FLOAT32.max)
        settle(self, lam=number("lam", self.lam, 1.0, most), overshoot=number("overshoot", self.overshoot, 0.0, most))

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        search = ScoreSearch(self, model, x, y, index)
        at = np.array(x)
        traced: list[Doubles] | None = [] if trace else None
        for _ in range(self.steps):
            left = search.left()
            column = np.full(len(x), np.nan)
            if len(left):
                points = search.placed(left, self._sparse(search, left, at[left]))
                won, loss = search.judge(left, points)
                search.keep(left[won], points[won], loss[won])
                at[left], column[left] = points, loss
            if traced is not None:
                traced.append(column)
        return search.found(self.norm, traced)

    def _sparse(self, search: ScoreSearch, rows: npt.NDArray[np.int64], at: Array) -> Doubles:
        """Return the sparse points for rows that stand `at` points that are still right."""
        x = search.x[rows].astype(np.float64)
        mask = search.free(rows)
        dense = DeepFool(overshoot=self.overshoot, candidates=None, bounds=self.bounds, mask=mask).run(
            search.model, at, search.labels[rows]
        )
        search.queries[rows] += dense.queries + 1
        beyond = x + self.lam * (dense.x_adv.astype(np.float64) - x)
        beyond = np.clip(beyond, -float(FLOAT32.max), float(FLOAT32.max)).astype(np.float32)
        normal = self._normal(search, rows, beyond).reshape(len(rows), -1) * mask.reshape(len(rows), -1)
        flat = x.reshape(len(rows), -1)
        return (flat + (1 + self.overshoot) * self._onto_plane(search, flat, normal, beyond)).reshape(x.shape)

    def _normal(self, search: ScoreSearch, rows: npt.NDArray[np.int64], points: Array) -> Doubles:
        """Return the gradient at `points` of the likeliest other class's logit less the label's."""
        model, labels = search.model, search.labels[rows]
        logits = as_numpy("logits", model(points))
        every = np.arange(len(rows))
        d = np.zeros_like(logits)
        if logits.shape[1] == 1:  # a single logit speaks for label 1
            d[:, 0] = 1 - 2 * labels
        else:
            others = logits.copy()
            others[every, labels] = -np.inf
            d[every, others.argmax(axis=1)], d[every, labels] = 1, -1
        return pulled_back(model, points, logits, d).astype(np.float64)

    def _onto_plane(self, search: ScoreSearch, x: Doubles, normal: Doubles, on_plane: Array) -> Doubles:
        """Return how rows of x (n, features) move to planes through other points: steepest features first."""
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        normal = normal / np.where(length > 0, length, 1)
        need = CROSSED - (normal * (x - on_plane.reshape(x.shape))).sum(axis=1, keepdims=True)
        slope = np.abs(normal)
        room = np.where(normal > 0, search.upper.ravel() - x, x - search.lower.ravel()) * slope
        order = np.argsort(-slope, axis=1, kind="stable")
        gain = np.take_along_axis(room, order, axis=1)
        before = np.cumsum(gain, axis=1) - gain
        spent = np.clip(np.maximum(need, 0) - before, 0, gain)
        moved = np.zeros_like(x)
        np.put_along_axis(moved, order, spent, axis=1)
        return np.sign(normal) * moved / np.where(slope > 0, slope, 1)
