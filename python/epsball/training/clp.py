"""Clean logit pairing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, settle
from epsball.attacks.base import Attack, Bounds
from epsball.attacks.fgsm import FGSM
from epsball.training.method import Method, box, noise, part


@dataclass(frozen=True)
class CLP(Method):
    """Minimise the loss on noisy rows plus lam · ‖z(x'_i) − z(x'_j)‖² over random pairs (Kannan et al. 2018).

    arXiv 1803.06373. The first half of a batch is paired with the second; the square is summed over the classes and
    averaged over the pairs, x' = x + N(0, sigma²), and a batch's odd last row is left out. It looks robust to weak PGD
    and falls to many restarts (Mosbach et al. 2018, arXiv 1810.12042).

    Parameters
    ----------
    lam
        Weight of the pairing.
    sigma
        Standard deviation of the noise; 0: none.
    bounds
        (lower, upper) as numbers that noisy rows are clipped to, or None.
    """

    lam: float = 0.5
    sigma: float = 0.5
    bounds: Bounds = None

    def __post_init__(self) -> None:
        most = float(FLOAT32.max)
        settle(
            self,
            lam=number("lam", self.lam, 0, most),
            sigma=number("sigma", self.sigma, 0, most),
            bounds=None if self.bounds is None else box(self.bounds),
        )

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        return {**noise("gaussian", self.sigma, self.bounds), "paired_halves": True,
                "parts": [part("attacked", 0.5), part("attacked", 0.5)],
                "pair": "squared_distance", "pair_weight": self.lam}  # fmt: skip

    def monitor(self) -> Attack:
        """Return the attack of `Standard`."""
        return FGSM(eps=0.25, bounds=None)
