"""Adversarial training of logistic regression, whose worst case is a closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, one_of, settle
from epsball.attacks.base import Attack
from epsball.attacks.pgd import PGD
from epsball.layers.flatten import Flatten
from epsball.layers.linear import Linear
from epsball.model import Sequential
from epsball.training.method import Method, class_indices, mixed


@dataclass(frozen=True)
class LinearTraining(Method):
    """Minimise the worst loss of logistic regression in a ball, ζ(ε ‖w‖_q − y (wᵀx + b)), exactly.

    Goodfellow, Shlens and Szegedy (2015), arXiv 1412.6572, whose printed sign holds for y = 1 alone; ζ is the softplus,
    y −1 or 1, and q the dual of the norm: 1 for L∞, 2 for L2, ∞ for L1. It looks like weight decay, but stops where the
    margin is large. The worst point is one step from x whatever w, and its loss has the closed form's gradient. There
    is no box: with one there is no closed form.

    Parameters
    ----------
    eps
        Radius of the ball.
    norm
        "linf", "l2" or "l1".
    """

    eps: float = 0.25
    norm: str = "linf"

    def __post_init__(self) -> None:
        eps, norm = number("eps", self.eps, 0, float(FLOAT32.max)), one_of("norm", self.norm, PGD.norms)
        settle(self, eps=eps, norm=norm)

    def check(self, model: Sequential, y: Any) -> None:
        """Refuse all but logistic regression."""
        class_indices("LinearTraining", y)
        layers = [layer for layer in model.layers if not isinstance(layer, Flatten)]
        if model.classes != 1 or len(layers) != 1 or not isinstance(layers[0], Linear):
            raise ValueError(f"model: LinearTraining wants logistic regression, models.linear(..., 1), got {model!r}")

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        return {"parts": mixed(0.0), "norm": self.norm, "eps": self.eps, "step_size": self.eps, "steps": 1}

    def monitor(self) -> Attack:
        """Return the worst case itself."""
        return PGD(self.eps, norm=self.norm, steps=1, step_size=self.eps, random_start=False, bounds=None)
