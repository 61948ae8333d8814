"""Adversarial training with projected gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import BELOW_ONE, FLOAT32, flag, number, one_of, settle, whole
from epsball.attacks.base import Attack, Bounds, default_step_size
from epsball.attacks.pgd import PGD
from epsball.training.method import Method, box, ramp


@dataclass(frozen=True)
class PGDTraining(Method):
    """Minimise the loss at the last point of a PGD attack on every row (Madry et al. 2018, arXiv 1706.06083).

    Parameters
    ----------
    eps
        Radius of the ball.
    steps
        Gradient steps; the random start is drawn anew in every epoch.
    step_size
        None: 2.5 · eps / steps.
    norm
        "linf", "l2" or "l1".
    random_start
        Start uniformly in the ball.
    bounds
        (lower, upper) as numbers, or None for no box.
    clean_weight
        Weight of the loss on the clean rows, in [0, 1); 0.5 is M-PGD, half clean, half adversarial (Kannan et al. 2018,
        arXiv 1803.06373).
    ramp
        Share of the run over which eps, and the steps with it, grow linearly from 0; in [0, 1].
    """

    eps: float = 0.3
    steps: int = 40
    step_size: float | None = None
    norm: str = "linf"
    random_start: bool = True
    bounds: Bounds = (0.0, 1.0)
    clean_weight: float = 0.0
    ramp: float = 0.0

    def __post_init__(self) -> None:
        most = float(FLOAT32.max)
        settle(
            self,
            eps=number("eps", self.eps, 0, most),
            steps=whole("steps", self.steps, 1),
            step_size=None if self.step_size is None else number("step_size", self.step_size, 0, most),
            norm=one_of("norm", self.norm, PGD.norms),
            random_start=flag("random_start", self.random_start),
            bounds=None if self.bounds is None else box(self.bounds),
            clean_weight=number("clean_weight", self.clean_weight, 0, BELOW_ONE),
            ramp=number("ramp", self.ramp, 0, 1),
        )

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        lo, hi = box(self.bounds)
        size = default_step_size(self.eps, self.steps) if self.step_size is None else self.step_size
        return {"clean_weight": self.clean_weight, "norm": self.norm, "eps": self.eps, "step_size": size,
                "steps": self.steps, "random_start": self.random_start, "lo": lo, "hi": hi}  # fmt: skip

    def budget(self, epoch: float, epochs: int) -> float:
        """Return the factor on eps and steps `epoch` epochs into a run of `epochs`."""
        return ramp(self.ramp, epoch, epochs)

    def monitor(self) -> Attack:
        """Return the attack trained against."""
        return PGD(eps=self.eps, norm=self.norm, steps=self.steps, step_size=self.step_size,
                   random_start=self.random_start, bounds=self.bounds)  # fmt: skip
