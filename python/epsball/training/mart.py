"""MART: adversarial training that looks hardest at rows the model is unsure of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, settle
from epsball.model import Sequential
from epsball.training.inner_pgd import InnerPGD
from epsball.training.method import class_indices, part


@dataclass(frozen=True)
class MART(InnerPGD):
    """Minimise BCE(x_adv, y) + lam · KL(p(x) || p(x_adv)) · (1 − p_y(x)) (Wang et al. 2020, ICLR).

    The boosted cross-entropy is −log p_y(x_adv) − log(1 − max over k ≠ y of p_k(x_adv)); x_adv comes from PGD on the
    loss. Gradients flow through p(x) and p(x_adv) alike. Class indices only.

    Parameters
    ----------
    eps, steps, step_size, norm, random_start, bounds, ramp
        Of the PGD attack, as in `PGDTraining`.
    lam
        Weight of the divergence; the paper's is 5.
    """

    lam: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, lam=number("lam", self.lam, 0, float(FLOAT32.max)))

    def check(self, model: Sequential, y: Any) -> None:
        """Refuse labels that are no class indices."""
        class_indices("MART", y)

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        return {**self.inner(), "parts": [part("clean", 0.0), part("attacked", 0.0)],
                "pair": "mart", "pair_weight": 1.0, "coupling": self.lam}  # fmt: skip
