"""Adversarial training with projected gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import BELOW_ONE, number, settle
from epsball.training.inner_pgd import InnerPGD
from epsball.training.method import mixed


@dataclass(frozen=True)
class PGDTraining(InnerPGD):
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
    ramp
        Share of the run over which eps, and the steps with it, grow linearly from 0; in [0, 1].
    clean_weight
        Weight of the loss on the clean rows, in [0, 1); 0.5 is M-PGD, half clean, half adversarial (Kannan et al. 2018,
        arXiv 1803.06373).
    """

    clean_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, clean_weight=number("clean_weight", self.clean_weight, 0, BELOW_ONE))

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        return {**self.inner(), "parts": mixed(self.clean_weight)}
