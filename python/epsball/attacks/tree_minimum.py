"""The nearest point that a decision tree classifies otherwise: exact, leaf by leaf."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from epsball.arguments import class_indices
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.options import mask_of, normal_bounds
from epsball.sources.trees import Trees

Doubles: TypeAlias = npt.NDArray[np.float64]
Columns: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TreeMinimum(Attack):
    """The closed form for one decision tree: the nearest box of a leaf of another class.

    The leaves of a tree part the inputs into boxes. The nearest point of a box is x with every feature that lies
    outside moved to the box's end, whatever the norm, so that the nearest of all of them is the optimum (Kantchelian et
    al. 2016, arXiv 1509.07892, find it for ensembles by integer programming; one tree needs none). A threshold that is
    to be passed is passed by one unit in the last place of x's dtype, or of float32 where the tree rounds its inputs.

    A row fails if no leaf of another class meets box and mask; x itself comes back. The tree is read, not asked.

    Parameters
    ----------
    norm
        "linf", "l2", "l1" or "l0": which distance is smallest.
    targeted
        y are the classes wanted, not the ones to leave.
    bounds, mask
        As in `PGD`.
    """

    reads_x: ClassVar[bool] = True

    norm: str = "l2"
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0")
    needs: ClassVar[str] = "structure"

    def _attack(self, model: Any, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        def nearest(_leaves: Leaves, row: Doubles, moved: Doubles, allowed: npt.NDArray[np.bool_]) -> int:
            return int(np.argmin(np.where(allowed, length(moved - row, self.norm), np.inf)))

        return into_leaves(self, model, x, y, nearest)


def into_leaves(attack: Any, model: Any, x: Array, y: Any, choose: Callable[..., int], offset: float = 0.0) -> Found:
    """Move rows into boxes of leaves.

    Parameters
    ----------
    attack, model, x, y
        As `Attack._attack` has them.
    choose
        The index of the leaf for a row (features): of (leaves, row, the row moved into every leaf's box, which of
        these the attack may go to), where it may go to one.
    offset
        How far behind a threshold that it passes a feature comes to lie, where its box is that wide.
    """
    if not isinstance(model, Trees) or len(model.trees) != 1:
        given = f"{len(model.trees)} trees" if isinstance(model, Trees) else type(model).__name__
        raise TypeError(f"model: wanted epsball.sources.Trees of a single tree, got {given}")
    rows, labels, lo, hi, free = checked(attack, model, x, y)
    leaves = Leaves(model, x.dtype)
    first, last = leaves.first, leaves.last
    within = (np.maximum(first, lo) <= np.minimum(last, hi)).all(axis=1)
    from_below = np.where(np.minimum(last, hi) - first > offset, first + offset, first)
    from_above = np.where(last - np.maximum(first, lo) > offset, last - offset, last)
    x_adv, distance, success = rows.copy(), np.zeros(len(rows)), np.zeros(len(rows), bool)
    for r, row in enumerate(rows):
        moved = np.where(row < first, from_below, np.where(row > last, from_above, row))
        wanted = (leaves.labels == labels[r]) == attack.targeted
        inside = (moved >= lo).all(axis=1) & (moved <= hi).all(axis=1)
        allowed = within & wanted & inside & ((moved == row) | free[r]).all(axis=1)
        if not allowed.any():
            continue
        best = choose(leaves, row, moved, allowed)
        x_adv[r], success[r] = moved[best], True
        distance[r] = length(moved[best : best + 1] - row, attack.norm)[0]
    return found(x, x_adv, distance, success, attack.targeted)


def checked(
    attack: Any, model: Any, x: Array, y: Any
) -> tuple[Doubles, npt.NDArray[np.int64], Doubles, Doubles, npt.NDArray[np.bool_]]:
    """Return float64 rows, labels, the box and which features may change, (N, features) each."""
    predicted = model._native.predict(x)  # which checks x
    rows = x.reshape(len(x), math.prod(x.shape[1:])).astype(np.float64)
    labels = class_indices("y", predicted if y is None else y, len(x))
    bounds = (-np.inf, np.inf) if attack.bounds is None else normal_bounds(attack.bounds, x.shape[1:])
    lo, hi = (np.broadcast_to(np.asarray(side, np.float64), rows.shape[1:]) for side in bounds)
    outside = (rows < lo) | (rows > hi)
    if outside.any():
        at = np.argwhere(outside)[0]
        raise ValueError(
            f"x: wanted values within bounds [{lo[at[1]]:g}, {hi[at[1]]:g}], got {rows[tuple(at)]:g} in row {at[0]}"
        )
    mask = np.ones(rows.shape[1], np.uint8) if attack.mask is None else mask_of(attack.mask, x.shape)
    return rows, labels, lo, hi, np.broadcast_to(mask.reshape(-1, rows.shape[1]) != 0, rows.shape)


def length(d: Doubles, norm: str) -> Doubles:
    """Return the norms of the rows of d."""
    order = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 0}[norm]
    lengths: Doubles = np.linalg.norm(d, order, axis=1)
    return lengths


def found(x: Array, x_adv: Doubles, distance: Doubles, success: npt.NDArray[np.bool_], targeted: bool) -> Found:
    """Return the fields of `AttackResult`; the model was read, so that no queries were spent."""
    rows = len(x)
    points = x_adv.astype(x.dtype).reshape(x.shape)
    loss = np.where(success, 1, -1).astype(np.float32) * (-1 if targeted else 1)
    return points, success, distance, np.zeros(rows, np.int64), loss, np.zeros(rows, bool), None


def above(threshold: float, dtype: npt.DTypeLike) -> float:
    """Return the smallest number of a dtype above the threshold."""
    kind: Any = np.dtype(dtype).type
    with np.errstate(over="ignore"):
        near = kind(threshold)
        return float(near if float(near) > threshold else np.nextafter(near, kind(np.inf)))


def up_to(threshold: float, dtype: npt.DTypeLike) -> float:
    """Return the largest number of a dtype that is at most the threshold."""
    kind: Any = np.dtype(dtype).type
    with np.errstate(over="ignore"):
        near = kind(threshold)
        return float(near if float(near) <= threshold else np.nextafter(near, kind(-np.inf)))


def compared_as(model: Trees, dtype: npt.DTypeLike) -> npt.DTypeLike:
    """Return the dtype whose spacing decides on which side of a threshold an input lies."""
    return np.float32 if model.rounds_inputs and np.dtype(dtype) == np.float64 else dtype


class Leaves:
    """The leaves of a tree from left to right: boxes, [first, last] in every feature, labels, and ways from the root.

    `paths` are the nodes on the way to each leaf, itself included, (leaves, depth), filled up with -1.
    """

    def __init__(self, model: Trees, dtype: npt.DTypeLike) -> None:
        tree, kind = model.trees[0], compared_as(model, dtype)
        first, last, ways = [], [], []
        todo: list[Any] = [((0,), np.full(model.features, -np.inf), np.full(model.features, np.inf))]
        while todo:
            way, lower, upper = todo.pop()
            node = way[-1]
            feature, cut = int(tree.feature[node]), float(tree.threshold[node])
            if feature < 0:
                first.append(lower)
                last.append(upper)
                ways.append(way)
                continue
            left, right = upper.copy(), lower.copy()
            left[feature] = min(left[feature], up_to(cut, kind))
            right[feature] = max(right[feature], above(cut, kind))
            todo += [((*way, int(tree.right[node])), right, upper), ((*way, int(tree.left[node])), lower, left)]
        self.first, self.last = np.stack(first), np.stack(last)
        self.paths = np.full((len(ways), max(map(len, ways))), -1)
        for path, way in zip(self.paths, ways, strict=True):
            path[: len(way)] = way
        inner = np.where(np.isfinite(self.first), self.first, np.where(np.isfinite(self.last), self.last, 0.0))
        self.labels = model._native.predict(inner)
