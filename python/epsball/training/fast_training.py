"""Fast adversarial training: one large step from a uniform start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, number, settle
from epsball.attacks.base import Attack, Bounds
from epsball.attacks.pgd import PGD
from epsball.training.method import Method, box, mixed, ramp
from epsball.training.optimizers import Adam, Optimizer
from epsball.training.schedules import Cyclic

MONITORED_STEPS = 10


@dataclass(frozen=True)
class FastTraining(Method):
    """Minimise the loss one step of 1.25 · eps away from a uniform start (Wong et al. 2020, arXiv 2001.03994); L∞.

    Training stops on catastrophic overfitting: when the error under PGD on the training rows, which the history
    records, rises by more than `collapse` within an epoch, the run ends with the weights of the epoch before. The
    method's own optimiser is ``Adam(5e-3, schedule=Cyclic())``.

    Parameters
    ----------
    eps
        Radius of the ball.
    step_size
        None: 1.25 · eps.
    bounds
        (lower, upper) as numbers, or None for no box.
    collapse
        Rise of the adversarial error, in [0, 1], that ends the run; None: train on.
    ramp
        Share of the run over which eps, and the step with it, grow linearly from 0; in [0, 1].
    """

    eps: float = 0.3
    step_size: float | None = None
    bounds: Bounds = (0.0, 1.0)
    collapse: float | None = 0.2
    ramp: float = 0.0

    def __post_init__(self) -> None:
        most = float(FLOAT32.max)
        settle(
            self,
            eps=number("eps", self.eps, 0, most),
            step_size=None if self.step_size is None else number("step_size", self.step_size, 0, most),
            bounds=None if self.bounds is None else box(self.bounds),
            collapse=None if self.collapse is None else number("collapse", self.collapse, 0, 1),
            ramp=number("ramp", self.ramp, 0, 1),
        )

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        lo, hi = box(self.bounds)
        size = 1.25 * self.eps if self.step_size is None else self.step_size
        return {"parts": mixed(0.0), "eps": self.eps, "step_size": size, "steps": 1,
                "start": "ball", "start_radius": self.eps, "lo": lo, "hi": hi}  # fmt: skip

    def optimizer(self) -> Optimizer:
        """Return Adam at a cyclic rate, 0 to 5e-3 and back."""
        return Adam(lr=5e-3, schedule=Cyclic())

    def budget(self, epoch: float, epochs: int) -> float:
        """Return the factor on eps and step `epoch` epochs into a run of `epochs`."""
        return ramp(self.ramp, epoch, epochs)

    def collapsed(self, records: list[dict[str, Any]]) -> bool:
        """Return whether the adversarial error on the training rows has just risen by more than `collapse`."""
        if self.collapse is None or len(records) < 2:
            return False
        before, now = (record["train_adversarial_error"] for record in records[-2:])
        return bool(now - before > self.collapse)

    def monitor(self) -> Attack:
        """Return PGD: an attack of one step would not see overfitting to it."""
        return PGD(eps=self.eps, steps=MONITORED_STEPS, bounds=self.bounds)
