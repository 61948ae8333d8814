"""What decision trees, and sums of them, predict at every point of a ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from epsball.arguments import class_indices
from epsball.arrays import Array, as_numpy
from epsball.evaluation.certificate import Bools, LinfCertificate, ball
from epsball.sources.trees import Tree, Trees

Doubles: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TreeCertificate(LinfCertificate):
    """Rows that no point of an L∞ ball turns, from the leaves that the ball reaches (Chen et al. 2019).

    arXiv 1906.03849: a ball reaches a leaf if it meets the leaf's box. Of one tree every leaf reached must have the
    row's class, which is exact, but that a tie between classes counts as a mistake. Of a sum of trees each may give
    its worst leaf, whether or not one point reaches all of these: a lower bound (the paper's cliques of size one).

    Parameters
    ----------
    eps
        Radius of the ball.
    bounds
        (lower, upper), numbers or arrays that broadcast to one input; None for no box.
    """

    def certify(self, model: Any, x: Any, y: Any) -> Bools:
        """Return the rows proved right at every point of ball and box, (N,) bool; see `Certificate.certify`."""
        if not isinstance(model, Trees):
            raise TypeError(f"model: wanted epsball.sources.Trees, got {type(model).__name__}")
        a = as_numpy("x", x)
        model.labels(a)  # which checks x
        labels = class_indices("y", y, len(a), max(model.start.size, 2))
        lower, upper = (side.reshape(len(a), -1) for side in ball(a, self.eps, self.bounds))
        first = _gaps(model, model.start[None], labels)
        worst, size = first.copy(), np.abs(first)
        for tree, column in zip(model.trees, model.columns, strict=True):
            leaves = model.scale * _spread(tree.value, column, model.start.size)
            worst += _least_gaps(model, tree, leaves, labels, lower, upper)
            size += 2 * np.abs(leaves).max()
        rounding = (len(model.trees) + 2) * np.finfo(np.float64).eps * size
        return np.asarray((worst > rounding).all(axis=1))

    def describe(self) -> str:
        """Write the certificate in a few words."""
        return f"trees linf eps={self.eps:g}"


def _spread(value: Doubles, column: int, columns: int) -> Doubles:
    """Return what the nodes of a tree add to every column, (nodes, columns)."""
    spread = np.zeros((len(value), columns))
    spread[:, column : column + value.shape[1]] = value
    return spread


def _gaps(model: Trees, scores: Doubles, labels: npt.NDArray[np.int64]) -> Doubles:
    """Return by how much scores (1, columns) favour each label over every rival, (N, rivals)."""
    if model.decision != "largest":
        return np.asarray(np.where(labels == 1, scores[0, 0], -scores[0, 0])[:, None])
    rivals = np.arange(model.start.size - 1)[None]
    rivals = rivals + (rivals >= labels[:, None])
    return np.asarray(scores[0, labels][:, None] - scores[0, rivals])


def _least_gaps(
    model: Trees, tree: Tree, leaves: Doubles, labels: npt.NDArray[np.int64], lower: Array, upper: Array
) -> Doubles:
    """Return the least gaps over the leaves that each row's box reaches, (N, rivals).

    Intervals of which any two meet have a point in common: so a box is sent to a side of a split if it meets that side
    and the splits above leave something of it.
    """
    least = np.full_like(_gaps(model, leaves[:1], labels), np.inf)
    todo = [(0, np.arange(len(labels)), np.full(model.features, -np.inf), np.full(model.features, np.inf))]
    while todo:
        node, rows, above, up_to = todo.pop()  # the node's inputs are in (above, up_to]
        if rows.size == 0:
            continue
        feature, cut = tree.feature[node], tree.threshold[node]
        if feature < 0:
            least[rows] = np.minimum(least[rows], _gaps(model, leaves[node : node + 1], labels[rows]))
            continue
        if above[feature] < cut:
            side = up_to.copy()
            side[feature] = min(side[feature], cut)
            todo.append((tree.left[node], rows[lower[rows, feature] <= cut], above, side))
        if cut < up_to[feature]:
            side = above.copy()
            side[feature] = max(side[feature], cut)
            todo.append((tree.right[node], rows[upper[rows, feature] > cut], side, up_to))
    return least
