"""Free adversarial training: every gradient of the weights also moves the perturbation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, settle, whole
from epsball.attacks.base import Attack, Bounds
from epsball.attacks.pgd import PGD
from epsball.training.method import Method, box, mixed

MONITORED_STEPS = 10


@dataclass(frozen=True)
class FreeTraining(Method):
    """Train on each batch `replays` times, the same pass giving both gradients (Shafahi et al. 2019); L∞.

    arXiv 1904.12843. There is a perturbation for every place in a batch; after each pass it moves by eps along the
    signs of the input gradient, and it is carried over to the next batch. An epoch begins with none, so that a run can
    be resumed. The paper divides the epochs by `replays`; here an epoch passes the data `replays` times.

    Parameters
    ----------
    eps
        Radius of the ball, and size of a step.
    replays
        Updates on each batch.
    bounds
        (lower, upper) as numbers, or None for no box.
    """

    eps: float = 0.3
    replays: int = 4
    bounds: Bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        settle(
            self,
            eps=number("eps", self.eps, 0, float(FLOAT32.max)),
            replays=whole("replays", self.replays, 1),
            bounds=None if self.bounds is None else box(self.bounds),
        )

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        lo, hi = box(self.bounds)
        return {"parts": mixed(0.0), "inner": "replay", "replays": self.replays, "eps": self.eps,
                "step_size": self.eps, "lo": lo, "hi": hi}  # fmt: skip

    def monitor(self) -> Attack:
        """Return PGD in the same ball."""
        return PGD(eps=self.eps, steps=MONITORED_STEPS, bounds=self.bounds)
