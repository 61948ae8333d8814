"""The attack that looks for the most confident mistake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found, check_model
from epsball.attacks.loop import Loop, default_step_size, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class MaxConfidence(Attack):
    """MaxConfidence (Goodfellow, Qin and Berthelot 2019): PGD towards every wrong class, the most confident one kept.

    Against models that may abstain below a confidence it is the strongest attack within what PGD finds.

    Parameters
    ----------
    targets
        How many wrong classes are tried, the likeliest at x first; 0: all.
    eps, norm, steps, step_size, restarts, random_start, bounds, mask, seed
        As in `PGD`; restarts are per class. Confidence is that of a softmax (one logit: of a sigmoid).
    """

    eps: Any
    norm: str = "linf"
    steps: int = 40
    step_size: Any = None
    restarts: int = 1
    random_start: bool = True
    targets: int = 0
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts: wanted 1 without random_start, as every run is the same, got {self.restarts}")

    @property
    def loss(self) -> str:
        """The loss that each run lowers towards its class."""
        return "cross_entropy"

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        check_model(model)
        classes = model._engine(x, True).classes
        loop = Loop(
            steps=self.steps,
            step_size=default_step_size(self.eps, self.steps) if self.step_size is None else self.step_size,
            restarts=self.restarts,
            random_start="ball" if self.random_start else "none",
            seed=self.seed,
            targets=self.targets or max(classes - 1, 1),
        )
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)
