"""The basic iterative method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import Loop, default_step_size, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class BIM(Attack):
    """Basic iterative method: PGD from x itself (Kurakin et al. 2017, arXiv 1607.02533).

    Parameters
    ----------
    eps, norm, steps, step_size, targeted, loss, bounds, mask, early_stop
        As in `PGD`. The paper steps by 1/255 for min(255 eps + 4, 1.25 · 255 eps) steps; here step_size None means
        2.5 · eps / steps, as everywhere.
    """

    eps: Any
    norm: str = "linf"
    steps: int = 10
    step_size: Any = None
    targeted: bool = False
    loss: str = "cross_entropy"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = False

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        size = default_step_size(self.eps, self.steps) if self.step_size is None else self.step_size
        loop = Loop(steps=self.steps, step_size=size, early_stop=self.early_stop)
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)
