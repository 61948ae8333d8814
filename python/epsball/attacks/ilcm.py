"""The iterative least-likely-class method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball.arrays import Array, as_numpy
from epsball.attacks.base import Attack, Bounds, Found, check_model
from epsball.attacks.loop import Loop, default_step_size, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class ILCM(Attack):
    """Steps from x towards the class the model finds least likely there (Kurakin et al. 2017, arXiv 1607.02533).

    y only judges success: a row succeeds once it is not predicted as its label, whatever class it became.

    Parameters
    ----------
    eps, norm, steps, step_size, loss, bounds, mask, early_stop
        As in `BIM`.
    """

    eps: Any
    norm: str = "linf"
    steps: int = 10
    step_size: Any = None
    loss: str = "cross_entropy"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = False

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        check_model(model)
        logits = as_numpy("logits", model(x), device="cuda")
        # One logit stands for two classes: the least likely is the one its sign does not predict.
        target = (logits[:, 0] <= 0).astype(np.int64) if model.classes == 1 else logits.argmin(axis=1)
        size = default_step_size(self.eps, self.steps) if self.step_size is None else self.step_size
        loop = Loop(steps=self.steps, step_size=size, early_stop=self.early_stop)
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace, target=target)
