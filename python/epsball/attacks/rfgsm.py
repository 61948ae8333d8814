"""FGSM after a random step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import Loop, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class RFGSM(Attack):
    """R+FGSM: a random step of size alpha, then FGSM with what is left (Tramèr et al. 2018, arXiv 1705.07204).

    x' = x + alpha · sign(N(0, I)), then x' + (eps − alpha) · sign(g(x')). One step is returned as it is; of several,
    as some libraries have it, each row keeps its best point.

    Parameters
    ----------
    eps
        Radius of the L∞ ball: a number or one per row.
    alpha
        Size of the random step, at most eps; None: eps / 2.
    norm
        "linf".
    targeted, loss, bounds, mask, seed
        As in `PGD`.
    steps
        Gradient steps after the random one.
    step_size
        A number or one per row; None: eps − alpha.
    """

    eps: Any
    alpha: Any = None
    norm: str = "linf"
    targeted: bool = False
    loss: str = "cross_entropy"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    seed: int = 0
    steps: int = 1
    step_size: Any = None

    norms = ("linf",)

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        eps = np.asarray(self.eps, dtype=np.float64)
        alpha = eps / 2 if self.alpha is None else np.asarray(self.alpha, dtype=np.float64)
        if alpha.ndim and eps.ndim and alpha.shape != eps.shape:
            raise ValueError(f"alpha: wanted a number or one per row, got shape {alpha.shape}")
        if not (alpha <= eps).all():
            raise ValueError(f"alpha: wanted at most eps = {self.eps}, got {self.alpha}")
        loop = Loop(
            steps=self.steps,
            step_size=eps - alpha if self.step_size is None else self.step_size,
            random_start="signs",
            start=alpha,
            keep_best=self.steps > 1,
            seed=self.seed,
        )
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)
