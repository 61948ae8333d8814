"""Virtual adversarial training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball.arguments import FLOAT32, number, settle, whole
from epsball.attacks.base import Attack, Bounds
from epsball.attacks.fgsm import FGSM
from epsball.model import Sequential
from epsball.training.method import Method, box, class_indices, part, ramp


@dataclass(frozen=True)
class VAT(Method):
    """Minimise J(x, y) over labelled rows plus lam · KL(p(x) || p(x + r)) over all (Miyato et al. 2018).

    arXiv 1704.03976. A label of −1 is none: such a row takes part in the divergence alone. r has L2 length eps and
    points where the divergence grows fastest, by power iteration from a random direction; p(x) is a constant. Dropout
    is off while r is sought, and drops the same units for x and x + r. Class indices only.

    With few labels, repeat their rows until every batch holds some, let eps grow over a `ramp`, and choose a net that
    carries a large eps: on MNIST with 100 labels a dense one merges classes beyond an eps of about 1, a convolutional
    one with pooling does not at 2 (benchmarks/training_facts.py).

    Parameters
    ----------
    eps
        Length of r.
    lam
        Weight of the divergence.
    iterations
        Of the power method.
    xi
        Length of the finite difference: in float32 the authors' 1e-6 drowns in rounding, 1e-2 finds the direction.
    bounds
        (lower, upper) as numbers that x + r is clipped to, or None as in the paper.
    ramp
        Share of the run over which eps grows from 0. With few labels a large r at once pushes whole classes to the
        wrong side.
    """

    eps: float = 2.0
    lam: float = 1.0
    iterations: int = 1
    xi: float = 1e-2
    bounds: Bounds = None
    ramp: float = 0.0
    unlabelled = True

    def __post_init__(self) -> None:
        most = float(FLOAT32.max)
        settle(
            self,
            eps=number("eps", self.eps, 0, most),
            lam=number("lam", self.lam, 0, most),
            iterations=whole("iterations", self.iterations, 1),
            xi=number("xi", self.xi, 1e-6, most),
            bounds=None if self.bounds is None else box(self.bounds),
            ramp=number("ramp", self.ramp, 0, 1),
        )

    def check(self, model: Sequential, y: Any) -> None:
        """Refuse labels that are no class indices, and none at all."""
        class_indices("VAT", y)
        if not (np.asarray(y) >= 0).any():
            raise ValueError("y: VAT wants at least one row with a label, got -1 alone")

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        lo, hi = box(self.bounds)
        return {"parts": [part("clean", 1.0), part("attacked", 0.0)], "partly_unlabelled": True,
                "inner": "virtual_adversarial", "eps": self.eps, "steps": self.iterations, "finite_difference": self.xi,
                "pair": "kl_constant", "pair_weight": self.lam, "lo": lo, "hi": hi}  # fmt: skip

    def budget(self, epoch: float, epochs: int) -> float:
        """Return the factor on eps `epoch` epochs into a run of `epochs`."""
        return ramp(self.ramp, epoch, epochs)

    def monitor(self) -> Attack:
        """Return the attack of `Standard`."""
        return FGSM(eps=0.25, bounds=None)
