"""Training for randomized smoothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, settle
from epsball.attacks.base import Attack
from epsball.attacks.pgd import PGD
from epsball.training.method import Method, mixed, noise

MONITORED_STEPS = 10


@dataclass(frozen=True)
class SmoothingTraining(Method):
    """Minimise the loss on x + N(0, sigma²), for a classifier that votes over such noise (Cohen et al. 2019).

    arXiv 1902.02918. Nothing is clipped; certify with the same sigma.

    Parameters
    ----------
    sigma
        Standard deviation of the noise.
    """

    sigma: float = 0.25

    def __post_init__(self) -> None:
        settle(self, sigma=number("sigma", self.sigma, 0, float(FLOAT32.max)))

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        return {**noise("gaussian", self.sigma, None), "parts": mixed(0.0)}

    def monitor(self) -> Attack:
        """Return PGD in the L2 ball of radius sigma, on the model without noise."""
        return PGD(eps=self.sigma, norm="l2", steps=MONITORED_STEPS, bounds=None)
