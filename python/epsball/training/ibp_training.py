"""Certified training: the worst logits that interval bounds allow are to be right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, settle
from epsball.attacks.base import Attack, Bounds
from epsball.attacks.pgd import PGD
from epsball.layers.batch_norm import BatchNorm
from epsball.layers.dropout import Dropout
from epsball.model import Sequential
from epsball.training.method import Method, box, class_indices, part

MONITORED_STEPS = 10


@dataclass(frozen=True)
class IBPTraining(Method):
    """Minimise κ J(z(x), y) + (1 − κ) J(ẑ(x), y), ẑ the worst logits over an L∞ ball (Gowal et al. 2018).

    arXiv 1810.12715. Interval bound propagation gives an interval for every logit over the ball and the box; ẑ has the
    lower end for the label and the upper ends for all others, so that J(ẑ, y) bounds the loss under every attack. The
    parameter gradient is exact. ε grows linearly from 0, and κ falls with it from 1; bounds of the margins that elide
    the last layer, tighter than those of the logits, are left to `evaluation.IBPCertificate`.

    Models of layers that carry intervals: `Linear`, `Conv2d`, pools, `Maxout`, `Normalize`, `Flatten` and activations
    that never fall; neither dropout nor batch normalisation.

    Parameters
    ----------
    eps
        Radius at the end of the ramp; the paper trains with more than it certifies, 0.4 for 0.3 on MNIST.
    bounds
        (lower, upper) as numbers, or None for no box.
    kappa
        Weight of the loss on clean rows from the end of the ramp on, in [0, 1].
    warmup
        Share of the run that is spent on clean rows alone, in [0, 1].
    ramp
        Share of the run over which ε then grows, in [0, 1].
    """

    eps: float = 0.3
    bounds: Bounds = (0.0, 1.0)
    kappa: float = 0.5
    warmup: float = 0.05
    ramp: float = 0.5

    def __post_init__(self) -> None:
        settle(
            self,
            eps=number("eps", self.eps, 0, float(FLOAT32.max)),
            bounds=None if self.bounds is None else box(self.bounds),
            kappa=number("kappa", self.kappa, 0, 1),
            warmup=number("warmup", self.warmup, 0, 1),
            ramp=number("ramp", self.ramp, 0, 1),
        )

    def check(self, model: Sequential, y: Any) -> None:
        """Refuse labels that are no class indices, and layers that do not carry intervals."""
        class_indices("IBPTraining", y)
        model.check_intervals()
        for place in model._places:
            if isinstance(place.layer, BatchNorm | Dropout):
                raise ValueError(
                    f"model: IBPTraining wants no dropout and no batch normalisation, got layer {place.name} "
                    f"({place.layer})"
                )

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        lo, hi = box(self.bounds)
        parts = [part("clean", 1.0), part("centre", 0.0), part("radius", 0.0)]
        return {"parts": parts, "pair": "worst_case", "pair_weight": 1 - self.kappa, "ramps_pair_weight": True,
                "eps": self.eps, "lo": lo, "hi": hi}  # fmt: skip

    def budget(self, epoch: float, epochs: int) -> float:
        """Return the factor on eps, and on 1 − kappa, `epoch` epochs into a run of `epochs`."""
        since = epoch - self.warmup * epochs
        if since < 0:
            return 0.0
        return min(since / (self.ramp * epochs), 1.0) if self.ramp > 0 else 1.0

    def monitor(self) -> Attack:
        """Return PGD in the ball of the ramp's end."""
        return PGD(eps=self.eps, steps=MONITORED_STEPS, bounds=self.bounds)
