"""Adversarial logit pairing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, settle
from epsball.training.inner_pgd import InnerPGD
from epsball.training.method import part


@dataclass(frozen=True)
class ALP(InnerPGD):
    """Minimise the mixed PGD loss plus lam · ‖z(x) − z(x_adv)‖² of the logits (Kannan et al. 2018, arXiv 1803.06373).

    The square is summed over the classes and averaged over the rows; its gradient flows through both logit vectors.
    Engstrom et al. (2018, arXiv 1807.10272) broke the published model: evaluate with strong attacks.

    Parameters
    ----------
    eps, steps, step_size, norm, random_start, bounds, ramp
        Of the PGD attack, as in `PGDTraining`.
    clean_weight
        Weight of the loss on the clean rows, in [0, 1]; the rest is that of the adversarial ones.
    lam
        Weight of the pairing.
    """

    clean_weight: float = 0.5
    lam: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(
            self,
            clean_weight=number("clean_weight", self.clean_weight, 0, 1),
            lam=number("lam", self.lam, 0, float(FLOAT32.max)),
        )

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        parts = [part("clean", self.clean_weight), part("attacked", 1.0 - self.clean_weight)]
        return {**self.inner(), "parts": parts, "pair": "squared_distance", "pair_weight": self.lam}
