"""Nearest neighbours: the exact vote as a label source, and softened scores that have a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arguments import FLOAT32, number, one_of, whole
from epsball.arrays import Array, as_numpy
from epsball.sources.base import Floats, GradientSource, LabelSource, Pull

WEIGHTS = ("uniform", "distance")
BLOCK = 1024  # rows whose distances to all points are held at once


def _points(points: Any, labels: Any, classes: int | None) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], int]:
    """Return points (M, features) in float64, their labels and the number of classes."""
    p, y = as_numpy("points", points), as_numpy("labels", labels)
    if p.dtype.kind not in "iuf" or p.ndim < 2 or 0 in p.shape:
        raise ValueError(f"points: wanted numbers (M, ...), at least one row, got {p.dtype} of shape {p.shape}")
    p = p.reshape(len(p), -1).astype(np.float64)
    if not (np.abs(p) <= float(FLOAT32.max)).all():
        raise ValueError("points: wanted finite float32 values, got others")
    if y.dtype.kind not in "iu" or y.shape != (len(p),) or (y < 0).any():
        raise ValueError(f"labels: wanted {len(p)} class indices >= 0, got {y.dtype} of shape {y.shape}")
    k = int(y.max()) + 1 if classes is None else whole("classes", classes, 1)
    if y.max() >= k:
        raise ValueError(f"labels: wanted class indices from 0 to {k - 1}, got {y.max()}")
    return p, y.astype(np.int64), k


class KNN(LabelSource):
    """The k nearest neighbours' vote, with exact Euclidean distances: a label source.

    Distances are summed in float64 over x − p, feature after feature. Of points equally far the first of `points` is
    the nearer; of classes with equal votes the first wins. Every point is looked at, first through float32 products,
    which rule out most, with a bound on their rounding errors.

    scikit-learn's k-d and ball trees have the same distances, its brute force rounded ones, which may swap neighbours
    whose distances differ in the last digits; and which of several points exactly as far as the k-th one vote depends
    on its algorithm. Only there can its predictions differ.

    Parameters
    ----------
    points
        (M, ...) examples.
    labels
        (M,) class indices.
    k
        Neighbours that vote.
    weights
        "uniform", or "distance": a vote weighs 1 / distance, summed from the nearest on, and where points coincide
        with the row only those vote.
    classes
        None: the largest label + 1.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.

    Attributes
    ----------
    classes, features, k : int
        Classes predicted; features per row; neighbours that vote.
    points, point_labels : ndarray
        (M, features) float64 and (M,) int64.
    weights : str
        As given.
    """

    def __init__(
        self, points: Any, labels: Any, k: int = 5, weights: str = "uniform", classes: int | None = None
    ) -> None:
        p, y, count = _points(points, labels, classes)
        super().__init__(classes=count)
        self.features = p.shape[1]
        self.points, self.point_labels = p, y
        self.k = whole("k", k, 1, len(p))
        self.weights = one_of("weights", weights, WEIGHTS)
        self._native = self._engine()

    def __repr__(self) -> str:
        return f"KNN({len(self.points)} points of {self.features} features, k={self.k}, weights={self.weights!r})"

    def _engine(self) -> _native.Knn:
        """Return the engine's copy."""
        assert self.classes is not None  # of the labels
        return _native.Knn(self.points, self.point_labels, self.classes, self.k, self.weights == "distance")

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._native = self._engine()

    def labels(self, x: Array) -> Any:
        """Return the predicted classes (N,), int64, of x (N, ...)."""
        return self._native.predict(x)


class SoftenedKNN(GradientSource):
    """A smooth stand-in for nearest neighbours: every example of a class counts, the near ones most.

    The score of a class is log Σ exp(−‖x − p‖² / T) over its points p. As T → 0 it is −‖x − p‖² / T of the nearest
    one, so the prediction becomes that of a single nearest neighbour. It is not the vote of `KNN`: attacks that need a
    gradient use it in its place (the stand-in of Papernot et al. 2016, arXiv 1605.07277), and what they find is to be
    judged by the vote.

    Parameters
    ----------
    points
        (M, ...) examples.
    labels
        (M,) class indices; every class has at least one.
    temperature
        T, in squared distance.
    classes
        None: the largest label + 1.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.

    Attributes
    ----------
    classes, features : int
        Scores per row; features per row.
    """

    def __init__(self, points: Any, labels: Any, temperature: float = 1.0, classes: int | None = None) -> None:
        p, y, count = _points(points, labels, classes)
        super().__init__(classes=count)
        self.features = p.shape[1]
        self.temperature = number("temperature", temperature, float(FLOAT32.tiny))
        counts = np.bincount(y, minlength=count)
        if not counts.all():
            raise ValueError(f"labels: wanted at least one point of every class, got none of class {counts.argmin()}")
        order = np.argsort(y, kind="stable")
        self._centre = p.mean(axis=0)  # distances through products lose fewer digits around it
        self._points = p[order] - self._centre
        self._squares = (self._points**2).sum(axis=1)
        self._first = np.concatenate([[0], np.cumsum(counts)])

    def __repr__(self) -> str:
        return f"SoftenedKNN({len(self._points)} points of {self.features} features, temperature={self.temperature:g})"

    def logits(self, x: Floats) -> Floats:
        """Return the class scores (N, K)."""
        rows = self._rows(x)
        z = np.empty((len(rows), self._count))
        for at in range(0, len(rows), BLOCK):
            z[at : at + BLOCK] = self._soften(rows[at : at + BLOCK])[0]
        return z.astype(np.float32)

    def vjp(self, x: Floats) -> tuple[Floats, Pull]:
        """Return the class scores, and what pulls their weights (N, K) back to x."""
        return self.logits(x), lambda dlogits: self._pull(x, dlogits)

    def _pull(self, x: Floats, dlogits: Floats) -> Floats:
        rows, weights = self._rows(x), dlogits.astype(np.float64)
        gradient = np.empty_like(rows)
        for at in range(0, len(rows), BLOCK):
            here = slice(at, at + BLOCK)
            _, shares = self._soften(rows[here])
            for k in range(self._count):  # d logits_k / dx = 2 / T (Σ_p share_p p − x)
                shares[:, self._first[k] : self._first[k + 1]] *= weights[here, k : k + 1]
            gradient[here] = shares @ self._points - weights[here].sum(axis=1, keepdims=True) * rows[here]
        return (gradient * (2 / self.temperature)).astype(np.float32).reshape(x.shape)

    def _rows(self, x: Floats) -> npt.NDArray[np.float64]:
        """Return x as centred float64 rows."""
        if x.size != len(x) * self.features:
            raise ValueError(f"x: wanted {self.features} features per row, got shape {x.shape}")
        rows: npt.NDArray[np.float64] = x.reshape(len(x), self.features).astype(np.float64) - self._centre
        return rows

    def _soften(self, rows: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return scores (n, K) and each point's share (n, M) in its class, the softmax within it."""
        distances = (rows**2).sum(axis=1, keepdims=True) - 2 * (rows @ self._points.T) + self._squares
        shares = np.maximum(distances, 0.0) / -self.temperature
        z = np.empty((len(rows), self._count))
        for k in range(self._count):
            mine = shares[:, self._first[k] : self._first[k + 1]]
            top = mine.max(axis=1, keepdims=True)
            np.exp(mine - top, out=mine)
            total = mine.sum(axis=1, keepdims=True)
            mine /= total
            z[:, k] = (top + np.log(total))[:, 0]
        return z, shares
