"""PGD that follows an average of its gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import flag, settle
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import Loop, default_step_size, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class MomentumPGD(Attack):
    """MI-FGSM (Dong et al. 2018, arXiv 1710.06081) and NI-FGSM (Lin et al. 2020, arXiv 1908.06281), in any norm.

    A step follows m ← decay · m + g / ‖g‖₁. With `nesterov` the gradient is taken at x + decay · step_size · m,
    projected onto ball and box; these points are judged instead of the iterates, except at the end, where the last
    iterate is.

    Parameters
    ----------
    decay
        Share of m that a step keeps; 0: plain PGD.
    nesterov
        Take gradients ahead of x.
    eps, norm, steps, step_size, restarts, random_start, targeted, loss, bounds, mask, early_stop, seed
        As in `PGD`. As in the papers it starts at x.
    """

    eps: Any
    norm: str = "linf"
    steps: int = 10
    step_size: Any = None
    decay: float = 1.0
    nesterov: bool = False
    restarts: int = 1
    random_start: bool = False
    targeted: bool = False
    loss: str = "cross_entropy"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, nesterov=flag("nesterov", self.nesterov))
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
            direction="nesterov" if self.nesterov else "momentum",
            decay=self.decay,
        )
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)
