"""PGD that follows Adam's direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import BELOW_ONE, number, settle
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import Loop, default_step_size, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class AdamPGD(Attack):
    """PGD with Adam (Kingma and Ba 2015, arXiv 1412.6980) for its steps, as Uesato et al. (2018, 1802.05666) use it.

    L∞: x moves by step_size · m̂ / (√v̂ + 1e-8), per feature; L2: by step_size along that direction. A row's gradient is
    scaled so that the largest |∂loss/∂logit| is 1.

    Parameters
    ----------
    beta1, beta2
        Decay of Adam's averages, in [0, 1).
    eps, norm, steps, step_size, restarts, random_start, targeted, loss, bounds, mask, early_stop, seed
        As in `PGD`.
    """

    norms = ("linf", "l2")

    eps: Any
    norm: str = "linf"
    steps: int = 40
    step_size: Any = None
    beta1: float = 0.9
    beta2: float = 0.999
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
        settle(self, beta1=number("beta1", self.beta1, 0.0, BELOW_ONE))
        settle(self, beta2=number("beta2", self.beta2, 0.0, BELOW_ONE))
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts: wanted 1 without random_start, as every run is the same, got {self.restarts}")

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        loop = Loop(
            steps=self.steps,
            step_size=default_step_size(self.eps, self.steps) if self.step_size is None else self.step_size,
            restarts=self.restarts,
            random_start="ball" if self.random_start else "none",
            early_stop=self.early_stop,
            seed=self.seed,
            adam=True,
            decay=self.beta1,
            decay_squares=self.beta2,
        )
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)
