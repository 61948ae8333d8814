"""Adversarial training with the fast gradient sign method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, one_of, settle
from epsball.attacks.base import Attack, Bounds
from epsball.attacks.fgsm import FGSM
from epsball.training.method import Method, box, mixed


@dataclass(frozen=True)
class FGSMTraining(Method):
    """Minimise alpha · J(x, y) + (1 − alpha) · J(x + eps · sign(g), y) (Goodfellow et al. 2015, arXiv 1412.6572).

    The adversarial point is a constant: no gradient flows through the sign. Dropout is off while it is made.

    Parameters
    ----------
    eps
        Size of the step.
    alpha
        Weight of the clean loss, in [0, 1]; the paper's is 0.5.
    norm
        "linf", "l2" or "l1".
    labels
        What the attack moves away from: "true" labels, with which a model may learn to read the label off the
        perturbation and be better on adversarial rows than on clean ones (label leaking), or the model's "predicted"
        ones (Kurakin et al. 2017, arXiv 1611.01236). Either way the loss is that of the true labels.
    bounds
        (lower, upper) as numbers, or None, as in the paper: no clipping.
    """

    eps: float = 0.25
    alpha: float = 0.5
    norm: str = "linf"
    labels: str = "true"
    bounds: Bounds = None

    def __post_init__(self) -> None:
        settle(
            self,
            eps=number("eps", self.eps, 0, float(FLOAT32.max)),
            alpha=number("alpha", self.alpha, 0, 1),
            norm=one_of("norm", self.norm, FGSM.norms),
            labels=one_of("labels", self.labels, ("true", "predicted")),
            bounds=None if self.bounds is None else box(self.bounds),
        )

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        lo, hi = box(self.bounds)
        return {"parts": mixed(self.alpha), "norm": self.norm, "eps": self.eps, "step_size": self.eps, "steps": 1,
                "reference": "predictions" if self.labels == "predicted" else "labels",
                "lo": lo, "hi": hi}  # fmt: skip

    def monitor(self) -> Attack:
        """Return the attack trained against."""
        return FGSM(eps=self.eps, norm=self.norm, bounds=self.bounds)
