"""The nearest point that a sum of decision stumps classifies otherwise: exact, feature by feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.tree_minimum import Columns, Doubles, above, checked, compared_as, found, length, up_to
from epsball.sources.trees import Trees


@dataclass(frozen=True, eq=False)
class StumpMinimum(Attack):
    """The closed form for boosted stumps (Andriushchenko and Hein 2019, arXiv 1906.03526).

    A stump splits one feature once, so that a sum of stumps is a sum of step functions of single features, and the lead
    of one class over another can be maximised feature by feature. "linf": the smallest radius at which the best step of
    every feature within it adds up to another class. "l0": the fewest features, those of the largest steps first. A
    threshold is passed by one unit in the last place, as in `TreeMinimum`.

    A row fails if no steps within box and mask suffice; x itself comes back. The stumps are read, not asked.

    Parameters
    ----------
    norm
        "linf" or "l0": which distance is smallest. (Of "l2" and "l1" the minimum is a knapsack problem.)
    targeted
        y are the classes wanted, not the ones to leave; for models of two classes.
    bounds, mask
        As in `PGD`.
    """

    norm: str = "linf"
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None

    norms: ClassVar[tuple[str, ...]] = ("linf", "l0")
    needs: ClassVar[str] = "structure"
    reads_x: ClassVar[bool] = True

    def _attack(self, model: Any, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        stumps = _Stumps(model, x.dtype)
        rows, labels, lo, hi, free = checked(self, model, x, y)
        predicted = model._native.predict(x)
        x_adv, success = rows.copy(), (predicted == labels) == self.targeted
        if self.targeted and model.classes > 2 and not success.all():
            raise ValueError(f"targeted: wanted a model of two classes, got {model.classes}")
        labels = np.where(success, labels, predicted)  # which are to be left
        for r in np.flatnonzero(~success):
            nearest = np.inf
            for rival in range(model.classes):
                if rival == labels[r]:
                    continue
                for point in self._points(stumps, rows[r], int(labels[r]), rival, lo, hi, free[r]):
                    size = length((point - rows[r])[None], self.norm)[0]
                    if size >= nearest:
                        break
                    # Sums of another order may round to the other side of a tie: then the next point.
                    if model._native.predict(point.astype(x.dtype)[None])[0] != labels[r]:
                        x_adv[r], nearest, success[r] = point, size, True
                        break
        return found(x, x_adv, length(x_adv - rows, self.norm), success, self.targeted)

    def _points(
        self, stumps: _Stumps, row: Doubles, label: int, rival: int, lo: Doubles, hi: Doubles,
        free: npt.NDArray[np.bool_],
    ) -> Any:  # fmt: skip
        """Yield points of which the rival has at least as much as the label, from the nearest on."""
        feature, to, away, gain = stumps.steps(row, label, rival, lo, hi, free)
        if self.norm == "l0":  # each feature's largest step, the first of equals
            order = np.lexsort((away, -gain, feature))
            order = order[np.unique(feature[order], return_index=True)[1]]
            order = order[np.argsort(-gain[order], kind="stable")]
        else:
            order = np.argsort(away, kind="stable")
        feature, to, gain = feature[order], to[order], gain[order]
        total, point, reached = stumps.lead(row, label, rival), row.copy(), np.zeros(len(row))
        for f, value, g in zip(feature, to, gain, strict=True):
            if g > reached[f]:
                total, reached[f], point[f] = total + g - reached[f], g, value
            if total >= -stumps.rounding:
                yield point.copy()


class _Stumps:
    """Every feature's step function: the cells its thresholds make, [first, last], and what all classes get there."""

    def __init__(self, model: Any, dtype: npt.DTypeLike) -> None:
        if not isinstance(model, Trees):
            raise TypeError(f"model: wanted epsball.sources.Trees of stumps, got {type(model).__name__}")
        self.kind: Any = np.dtype(compared_as(model, dtype)).type
        self.start = _scores(model, model.start[None], None)[0]
        splits: dict[int, list[tuple[float, Doubles, Doubles]]] = {}
        self.rounding = np.abs(self.start).max()
        for tree, column in zip(model.trees, model.columns, strict=True):
            values = _scores(model, model.scale * tree.value, int(column))
            self.rounding += np.abs(values).max()
            if tree.feature[0] < 0:
                self.start = self.start + values[0]
                continue
            left, right = int(tree.left[0]), int(tree.right[0])
            if tree.feature[left] >= 0 or tree.feature[right] >= 0:
                raise TypeError("model: wanted stumps, trees of one split, got a deeper tree")
            splits.setdefault(int(tree.feature[0]), []).append((float(tree.threshold[0]), values[left], values[right]))
        self.rounding *= 2.0**-52 * (len(model.trees) + 1)
        self.cells: dict[int, tuple[Doubles, Doubles, Doubles]] = {}
        for feature, stumps in splits.items():
            cuts = np.unique([cut for cut, _, _ in stumps])
            values = np.zeros((len(cuts) + 1, len(self.start)))
            for cut, left_values, right_values in stumps:
                at = int(np.searchsorted(cuts, cut)) + 1
                values[:at] += left_values
                values[at:] += right_values
            first = np.array([-np.inf, *(above(c, self.kind) for c in cuts)])
            last = np.array([*(up_to(c, self.kind) for c in cuts), np.inf])
            self.cells[feature] = first, last, values

    def lead(self, row: Doubles, label: int, rival: int) -> float:
        """Return what the rival has over the label."""
        total = self.start[rival] - self.start[label]
        for feature, (_, last, values) in self.cells.items():
            at = self._cell(row[feature], last)
            total += values[at, rival] - values[at, label]
        return float(total)

    def _cell(self, x: float, last: Doubles) -> int:
        return int(np.argmax(float(self.kind(x)) <= last))

    def steps(
        self, row: Doubles, label: int, rival: int, lo: Doubles, hi: Doubles, free: npt.NDArray[np.bool_]
    ) -> tuple[Columns, Doubles, Doubles, Doubles]:
        """Return all moves of one feature that bring the rival something: feature, value, distance and gain."""
        moves: list[tuple[int, float, float, float]] = []
        for feature, (first, last, values) in self.cells.items():
            if not free[feature]:
                continue
            x, over = row[feature], values[:, rival] - values[:, label]
            here = self._cell(x, last)
            to = np.where(x < first, first, np.where(x > last, last, x))
            ok = (first <= last) & (to >= lo[feature]) & (to <= hi[feature]) & (over > over[here])
            moves += [(feature, to[i], abs(to[i] - x), over[i] - over[here]) for i in np.flatnonzero(ok)]
        columns = np.array(moves, np.float64).reshape(-1, 4).T
        return columns[0].astype(np.int64), columns[1], columns[2], columns[3]


def _scores(model: Trees, values: Doubles, column: int | None) -> Doubles:
    """Return leaf values as scores of all classes: those of one column, or of label 1 against 0."""
    if model.decision != "largest":
        return np.concatenate([np.zeros_like(values), values], axis=1)
    if column is None or values.shape[1] == model.classes:
        return values
    scores = np.zeros((len(values), model.start.size))
    scores[:, column] = values[:, 0]
    return scores
