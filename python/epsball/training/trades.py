"""TRADES: accuracy on clean rows traded against a divergence to adversarial ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, settle
from epsball.training.inner_pgd import InnerPGD
from epsball.training.method import part


@dataclass(frozen=True)
class TRADES(InnerPGD):
    """Minimise J(x, y) + beta · KL(p(x) || p(x_adv)), x_adv maximising that divergence (Zhang et al. 2019).

    arXiv 1901.08573. The attack starts at x + 0.001 · N(0, 1), for at x itself the divergence has no gradient, and
    holds p(x) constant; the loss lets its gradient through both p(x) and p(x_adv).

    Parameters
    ----------
    eps, steps, step_size, norm, bounds, ramp
        Of the PGD attack, as in `PGDTraining`.
    random_start
        False: the attack starts at x and, the gradient being 0 there up to rounding, hardly moves.
    beta
        Weight of the divergence; the paper's 1 / lambda, 1 to 6.
    """

    beta: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, beta=number("beta", self.beta, 0, float(FLOAT32.max)))

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        start = {"start": "normal", "start_radius": 0.001} if self.random_start else {}
        return {**self.inner(), **start, "parts": [part("clean", 1.0), part("attacked", 0.0)],
                "reference": "probabilities", "pair": "kl", "pair_weight": self.beta}  # fmt: skip
