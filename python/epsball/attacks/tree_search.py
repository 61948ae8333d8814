"""Papernot's search of a decision tree for a leaf of another class nearby in the tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from epsball.arguments import FLOAT32, number, settle
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.tree_minimum import Doubles, Leaves, compared_as, into_leaves


@dataclass(frozen=True, eq=False)
class TreeSearch(Attack):
    """The first leaf of another class under the lowest node above a row's own leaf (Papernot et al. 2016, 1605.07277).

    Up from the leaf that a row lies in, the other branch of every node is searched, depth first and from the left; the
    row goes to the first leaf of another class that is met. Features move only behind the thresholds on the way that
    they are on the wrong side of, so that few change. `TreeMinimum` finds the nearest leaf.

    A row fails if no leaf of another class meets box and mask; x itself comes back. The tree is read, not asked.

    Parameters
    ----------
    offset
        How far behind a threshold a feature comes to lie, where its leaf is that wide; else right behind it.
    targeted
        y are the classes wanted, not the ones to leave.
    bounds, mask
        As in `PGD`.
    norm
        "l0", "linf", "l2" or "l1": which distance is reported.
    """

    reads_x: ClassVar[bool] = True

    offset: float = 1e-3
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    norm: str = "l0"

    norms: ClassVar[tuple[str, ...]] = ("l0", "linf", "l2", "l1")
    needs: ClassVar[str] = "structure"

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, offset=number("offset", self.offset, 0.0, float(FLOAT32.max)))

    def _attack(self, model: Any, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        def nearby(leaves: Leaves, row: Doubles, _moved: Doubles, allowed: npt.NDArray[np.bool_]) -> int:
            here = row.astype(compared_as(model, x.dtype))
            own = int(np.argmax(((here >= leaves.first) & (here <= leaves.last)).all(axis=1)))
            shared = np.cumprod(leaves.paths == leaves.paths[own], axis=1).sum(axis=1)
            return int(np.argmax(np.where(allowed, shared, -1)))

        return into_leaves(self, model, x, y, nearby, self.offset)
