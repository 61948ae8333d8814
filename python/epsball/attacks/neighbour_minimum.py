"""The nearest point that a single nearest neighbour classifies otherwise: exact, Voronoi cell by Voronoi cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.tree_minimum import Doubles, checked, found
from epsball.sources.knn import KNN

TOLERANCE = 1e-9  # of a constraint, in units of its right-hand side's terms


@dataclass(frozen=True, eq=False)
class NeighbourMinimum(Attack):
    """The optimum for one nearest neighbour: the nearest Voronoi cell of a point of another class, in L2.

    The cell of a point p is where p is nearer than every point of the row's own class: half-spaces, whose nearest point
    to x is a quadratic programme, "RBA-Exact" of Yang et al. (2020, arXiv 1906.03310). Here each is solved as a
    least-distance problem (Lawson and Hanson 1974, chapter 23) over the half-spaces that turn out to matter, and cells
    of which one half-space is farther than the best point so far are passed over. It is meant for small sets: a row may
    cost one programme for each point of another class. A point on the border is a tie, so the result lies inside the
    cell, by at least a millionth of the way to p.

    A row fails if no such cell meets the box; x itself comes back. The neighbours are read, not asked.

    Parameters
    ----------
    targeted
        y are the classes wanted, not the ones to leave.
    bounds
        As in `PGD`.
    mask
        As in `PGD`.
    norm
        "l2".
    """

    reads_x: ClassVar[bool] = True

    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    norm: str = "l2"

    norms: ClassVar[tuple[str, ...]] = ("l2",)
    needs: ClassVar[str] = "structure"

    def _attack(self, model: Any, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        if not isinstance(model, KNN) or model.k != 1:
            given = f"k = {model.k}" if isinstance(model, KNN) else type(model).__name__
            raise TypeError(f"model: wanted epsball.sources.KNN with k = 1, got {given}")
        rows, labels, lo, hi, free = checked(self, model, x, y)
        x_adv, distance, success = rows.copy(), np.zeros(len(rows)), np.zeros(len(rows), bool)
        predicted = model._native.predict(x)
        for r, row in enumerate(rows):
            if (predicted[r] == labels[r]) == self.targeted:
                success[r] = True
                continue
            wanted = (model.point_labels == labels[r]) == self.targeted
            cells = _Cells(model.points[wanted], model.points[~wanted], row, np.where(free[r], lo, row),
                           np.where(free[r], hi, row))  # fmt: skip
            nearest = cells.nearest()
            if nearest is None:
                continue
            point = _inside(model, *nearest, x.dtype, labels[r], self.targeted, cells)
            if point is not None:
                x_adv[r], success[r] = point, True
                distance[r] = np.linalg.norm(point - row)
        return found(x, x_adv, distance, success, self.targeted)


class _Cells:
    """The cells of points that are wanted, among points that are not, seen from a row in its box."""

    def __init__(self, wanted: Doubles, others: Doubles, row: Doubles, lo: Doubles, hi: Doubles) -> None:
        self.wanted, self.others, self.row = wanted, others, row
        self.lo, self.hi = lo, hi
        self.room = np.concatenate([hi - row, row - lo])  # of steps up and down

    def nearest(self) -> tuple[Doubles, Doubles] | None:
        """Return the nearest point of any cell, and the point whose cell it is; None if the box has none."""
        best, answer = np.inf, None
        for bound, point in sorted(zip(self._bounds(), range(len(self.wanted)), strict=True)):
            if bound >= best:
                break
            step = self._step(point)
            if step is not None and np.linalg.norm(step) < best:
                best = float(np.linalg.norm(step))
                answer = self.row + step, self.wanted[point]
        return answer

    def _bounds(self) -> Doubles:
        """Return how far the farthest half-space of every cell is at least."""
        bounds = np.zeros(len(self.wanted))
        for i, point in enumerate(self.wanted):
            slope, offset = self._sides(point)
            bounds[i] = max((offset / np.maximum(np.linalg.norm(slope, axis=1), 1e-300)).max(initial=0.0), 0.0)
        return bounds

    def _sides(self, point: Doubles) -> tuple[Doubles, Doubles]:
        """Return a cell's half-spaces as steps d with slope · d >= offset."""
        slope = 2 * (point - self.others)
        offset = ((self.row - point) ** 2).sum() - ((self.row - self.others) ** 2).sum(axis=1)
        return slope, offset

    def _step(self, point: int) -> Doubles | None:
        """Return the shortest step into a cell and the box, or None: from half-spaces that the step so far violates."""
        slope, offset = self._sides(self.wanted[point])
        size = len(self.row)
        box = np.concatenate([-np.eye(size), np.eye(size)])
        limited = np.isfinite(self.room)
        slope = np.concatenate([slope, box[limited]])
        offset = np.concatenate([offset, -self.room[limited]])
        scale = np.maximum(np.linalg.norm(slope, axis=1), 1e-300)
        slope, offset = slope / scale[:, None], offset / scale
        chosen: list[int] = []
        step = np.zeros(size)
        while True:
            short = offset - slope @ step
            worst = int(np.argmax(short))
            if short[worst] <= TOLERANCE * (1 + abs(offset[worst])) or worst in chosen:
                return step
            chosen.append(worst)
            found_step = least_distance(slope[chosen], offset[chosen])
            if found_step is None:
                return None
            step = found_step


def least_distance(slope: Doubles, offset: Doubles) -> Doubles | None:
    """Return the shortest d with ``slope @ d >= offset``, or None if there is none (Lawson and Hanson 1974, 23.4)."""
    system = np.concatenate([slope.T, offset[None]])
    goal = np.zeros(len(system))
    goal[-1] = 1.0
    residual = system @ non_negative(system, goal) - goal
    if residual[-1] > -1e-12:  # no residual: the constraints contradict each other
        return None
    step: Doubles = -residual[:-1] / residual[-1]
    return step


def non_negative(system: Doubles, goal: Doubles) -> Doubles:
    """Return the u >= 0 that minimises ``|system @ u - goal|`` (Lawson and Hanson 1974, 23.3)."""
    u = np.zeros(system.shape[1])
    passive = np.zeros(len(u), bool)
    for _ in range(3 * len(u) + 10):
        gain = system.T @ (goal - system @ u)
        gain[passive] = -np.inf
        if not (gain > 1e-13).any():
            break
        passive[int(np.argmax(gain))] = True
        while True:
            trial = np.zeros(len(u))
            trial[passive] = np.linalg.lstsq(system[:, passive], goal, rcond=None)[0]
            low = passive & (trial <= 0)
            if not low.any():
                break
            share = (u[low] / np.maximum(u[low] - trial[low], 1e-300)).min()
            u = u + share * (trial - u)
            passive &= u > 1e-15
            u[~passive] = 0.0
        u = trial
    return u


def _inside(
    model: KNN, border: Doubles, point: Doubles, dtype: Any, label: int, targeted: bool, cells: _Cells
) -> Doubles | None:
    """Return a point of x's dtype just inside the cell, on the way from its border to the point itself."""
    part = 1e-6
    while part < 1.0:
        near = np.clip(border + part * (point - border), cells.lo, cells.hi).astype(dtype)
        if (model._native.predict(near[None])[0] == label) == targeted:
            return near.astype(np.float64)
        part *= 4
    return None
