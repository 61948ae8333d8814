"""Sparse L1 descent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from epsball.arguments import number, settle
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import Loop, default_step_size, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class SLIDE(Attack):
    """Sparse L1 descent (Tramèr and Boneh 2019, arXiv 1904.13000): PGD in an L1 ball whose step goes to a few features.

    Of the features that are not at the end of the box, those of largest |gradient| move by an equal share of the step.

    Parameters
    ----------
    fraction
        Share of the features that a step moves, in (0, 1] (1 − q of the paper).
    eps, steps, step_size, restarts, random_start, targeted, loss, bounds, mask, early_stop, seed
        As in `PGD`.
    """

    norms = ("l1",)

    eps: Any
    norm: str = "l1"
    steps: int = 40
    step_size: Any = None
    fraction: float = 0.01
    restarts: int = 1
    random_start: bool = True
    targeted: bool = False
    loss: str = "cross_entropy"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, fraction=number("fraction", self.fraction, 1e-9, 1.0))
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts: wanted 1 without random_start, as every run is the same, got {self.restarts}")

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        features = math.prod(x.shape[1:])
        loop = Loop(
            steps=self.steps,
            step_size=default_step_size(self.eps, self.steps) if self.step_size is None else self.step_size,
            restarts=self.restarts,
            random_start="ball" if self.random_start else "none",
            early_stop=self.early_stop,
            seed=self.seed,
            top=max(round(self.fraction * features), 1),
        )
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)
