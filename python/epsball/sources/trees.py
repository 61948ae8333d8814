"""Decision trees and sums of them as a label source: exact predictions, without a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arguments import FLOAT32, flag, number, one_of, whole
from epsball.arrays import Array, as_numpy
from epsball.sources.base import LabelSource

DECISIONS = ("largest", "positive", "not_negative")


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree as arrays over its nodes; node 0 is the root.

    Parameters
    ----------
    feature
        (nodes,) what a node splits; -1: a leaf.
    threshold
        (nodes,) float64: a row goes left where its feature is at most that.
    left, right
        (nodes,) the children, which stand after their parent.
    value
        (nodes, width) float64, of which the leaves' count.
    """

    feature: npt.NDArray[Any]
    threshold: npt.NDArray[Any]
    left: npt.NDArray[Any]
    right: npt.NDArray[Any]
    value: npt.NDArray[Any]


class Trees(LabelSource):
    """A sum of decision trees that predicts classes.

    Scores start at `start`; each tree in turn adds `scale` times the values of the leaf a row falls into, in float64,
    to all columns, or to its own column if a leaf has one value.

    Parameters
    ----------
    trees
        `Tree` objects; their values have one column, or the columns of `start`.
    features
        Per row.
    start
        (columns,) initial scores; for votes (K,) zeros.
    columns
        (trees,) the column of each tree of one value per leaf; None: 0.
    scale
        Of every value added (a learning rate).
    mean
        Divide the sum by the number of trees.
    decision
        How scores become a class: "largest", the first of equals; or of a single column, label 1 where the score is
        "positive" or "not_negative".
    rounds_inputs
        Round inputs to float32 before they are compared with a threshold, which is float64.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.

    Attributes
    ----------
    classes, features : int
        Classes predicted; features per row.
    trees : tuple of Tree
        As given.
    start : ndarray of float64
        As given.
    columns : ndarray of int64
        One per tree.
    scale, mean, decision, rounds_inputs
        As given.
    """

    def __init__(
        self,
        trees: Sequence[Tree],
        features: int,
        start: Any,
        *,
        columns: Any = None,
        scale: float = 1.0,
        mean: bool = False,
        decision: str = "largest",
        rounds_inputs: bool = True,
    ) -> None:
        self.features = whole("features", features, 1)
        first = _vector("start", start, np.float64)
        one_of("decision", decision, DECISIONS)
        if first.size == 0 or (decision != "largest" and first.size != 1):
            raise ValueError(f"start: wanted one score per column (one for {decision!r}), got shape {first.shape}")
        super().__init__(classes=first.size if decision == "largest" else 2)
        given = list(trees)
        if not given:
            raise ValueError("trees: wanted at least one tree, got none")
        parts = [_checked(i, tree, first.size) for i, tree in enumerate(given)]
        width = parts[0].value.shape[1]
        if any(p.value.shape[1] != width for p in parts):
            raise ValueError("trees: wanted leaves with the same number of values in every tree, got different ones")
        column = np.zeros(len(given), np.int64) if columns is None else _vector("columns", columns, np.int64)
        if column.shape != (len(given),) or (column < 0).any() or (column + width > first.size).any():
            raise ValueError(
                f"columns: wanted one of 0 to {first.size - width} for each of {len(given)} trees, got "
                f"{column.tolist()}"
            )
        self.trees, self.start, self.columns, self.decision = tuple(parts), first, column, decision
        self.scale = number("scale", scale, -float(FLOAT32.max), float(FLOAT32.max))
        self.rounds_inputs = flag("rounds_inputs", rounds_inputs)
        whole("trees", sum(len(p.feature) for p in parts), 1)  # the native index is 32 bits wide
        self.mean = flag("mean", mean)
        self._native = self._engine()

    def __repr__(self) -> str:
        options = f"scale={self.scale:g}, mean={self.mean}, decision={self.decision!r}"
        return f"Trees({len(self.trees)} trees over {self.features} features, {options})"

    def _engine(self) -> _native.Trees:
        """Return the engine's copy, for which the nodes of all trees are numbered through."""
        parts = self.trees
        roots = np.cumsum([0, *(len(p.feature) for p in parts[:-1])])
        return _native.Trees(
            feature=np.concatenate([p.feature for p in parts]).astype(np.int32),
            threshold=np.concatenate([p.threshold for p in parts]),
            left=np.concatenate([p.left + r for p, r in zip(parts, roots, strict=True)]).astype(np.int32),
            right=np.concatenate([p.right + r for p, r in zip(parts, roots, strict=True)]).astype(np.int32),
            values=np.concatenate([p.value for p in parts]),
            roots=roots.astype(np.int32),
            column=self.columns.astype(np.int32),
            start=self.start,
            features=self.features,
            scale=self.scale,
            divisor=float(len(parts)) if self.mean else 1.0,
            rounds_inputs=self.rounds_inputs,
            decision=self.decision,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._native = self._engine()

    def labels(self, x: Array) -> Any:
        """Return the predicted classes (N,), int64, of x (N, ...)."""
        return self._native.predict(x)


def _vector(name: str, value: Any, dtype: type) -> npt.NDArray[Any]:
    a = as_numpy(name, value)
    kinds = "iuf" if dtype is np.float64 else "iu"
    if a.ndim != 1 or a.dtype.kind not in kinds or not np.isfinite(a).all():
        raise ValueError(f"{name}: wanted finite {dtype.__name__} of one dimension, got {a.dtype} of shape {a.shape}")
    return a.astype(dtype)


def _checked(i: int, tree: Tree, columns: int) -> Tree:
    if not isinstance(tree, Tree):
        raise TypeError(f"trees: wanted Tree objects, got {type(tree).__name__}")
    feature, left, right = (
        _vector(f"trees[{i}].{n}", getattr(tree, n), np.int64) for n in ("feature", "left", "right")
    )
    threshold = _vector(f"trees[{i}].threshold", tree.threshold, np.float64)
    value = as_numpy(f"trees[{i}].value", tree.value).astype(np.float64)
    if value.ndim != 2 or value.shape[1] not in (1, columns) or not np.isfinite(value).all():
        raise ValueError(
            f"trees[{i}].value: wanted finite numbers (nodes, {columns}) or (nodes, 1), got shape {value.shape}"
        )
    if not 1 <= len(feature) == len(threshold) == len(left) == len(right) == len(value):
        raise ValueError(f"trees[{i}]: wanted arrays over the same nodes, got lengths {len(feature)}, "
                         f"{len(threshold)}, {len(left)}, {len(right)}, {len(value)}")  # fmt: skip
    inner = feature >= 0
    if (np.maximum(left, right)[inner] >= len(feature)).any() or (np.minimum(left, right)[inner] < 0).any():
        raise ValueError(f"trees[{i}]: wanted children among its {len(feature)} nodes")
    zeros = np.zeros_like(feature)
    return Tree(
        np.where(inner, feature, -1), threshold, np.where(inner, left, zeros), np.where(inner, right, zeros), value
    )
