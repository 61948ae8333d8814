"""Training on noisy inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, one_of, settle
from epsball.attacks.base import Attack, Bounds
from epsball.attacks.fgsm import FGSM
from epsball.training.method import Method, box, mixed, noise


@dataclass(frozen=True)
class NoiseTraining(Method):
    """Minimise the loss on x plus noise, drawn anew in every epoch: a control for adversarial training.

    Goodfellow et al. (2015, arXiv 1412.6572) train with noise of the attack's own size and find next to no robustness.

    Parameters
    ----------
    sigma
        Standard deviation of "gaussian" noise; largest magnitude of "uniform"; magnitude of "signs".
    kind
        "gaussian", "uniform" or "signs".
    clean_weight
        Weight of the loss on the clean rows, in [0, 1].
    bounds
        (lower, upper) as numbers that noisy rows are clipped to, or None.
    """

    sigma: float = 0.25
    kind: str = "gaussian"
    clean_weight: float = 0.0
    bounds: Bounds = None

    def __post_init__(self) -> None:
        settle(
            self,
            sigma=number("sigma", self.sigma, 0, float(FLOAT32.max)),
            kind=one_of("kind", self.kind, ("gaussian", "uniform", "signs")),
            clean_weight=number("clean_weight", self.clean_weight, 0, 1),
            bounds=None if self.bounds is None else box(self.bounds),
        )

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        return {**noise(self.kind, self.sigma, self.bounds), "parts": mixed(self.clean_weight)}

    def monitor(self) -> Attack:
        """Return the attack of `Standard`."""
        return FGSM(eps=0.25, bounds=None)
