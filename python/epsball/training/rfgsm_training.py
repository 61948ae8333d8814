"""Adversarial training with a random step before the fast gradient sign method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, settle
from epsball.attacks.base import Attack, Bounds
from epsball.attacks.rfgsm import RFGSM
from epsball.training.method import Method, box, mixed


@dataclass(frozen=True)
class RFGSMTraining(Method):
    """Minimise clean_weight · J(x, y) + (1 − clean_weight) · J(x_adv, y), x_adv by R+FGSM (Tramèr et al. 2018).

    arXiv 1705.07204: a step of alpha along random signs, then one of eps − alpha along the gradient's; L∞. Like all
    single-step training it may end in gradient masking: evaluate with PGD.

    Parameters
    ----------
    eps
        Radius of the ball.
    alpha
        Size of the random step, at most eps; None: eps / 2.
    clean_weight
        Weight of the clean loss, in [0, 1].
    bounds
        (lower, upper) as numbers, or None for no box.
    """

    eps: float = 0.3
    alpha: float | None = None
    clean_weight: float = 0.5
    bounds: Bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        eps = number("eps", self.eps, 0, float(FLOAT32.max))
        settle(
            self,
            eps=eps,
            alpha=None if self.alpha is None else number("alpha", self.alpha, 0, eps),
            clean_weight=number("clean_weight", self.clean_weight, 0, 1),
            bounds=None if self.bounds is None else box(self.bounds),
        )

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        lo, hi = box(self.bounds)
        alpha = self.eps / 2 if self.alpha is None else self.alpha
        return {"parts": mixed(self.clean_weight), "eps": self.eps, "step_size": self.eps - alpha, "steps": 1,
                "start": "signs", "start_radius": alpha, "lo": lo, "hi": hi}  # fmt: skip

    def monitor(self) -> Attack:
        """Return the attack trained against."""
        return RFGSM(eps=self.eps, alpha=self.alpha, bounds=self.bounds)
