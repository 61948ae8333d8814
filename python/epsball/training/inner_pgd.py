"""What the methods have in common that attack every row with projected gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import FLOAT32, flag, number, one_of, settle, whole
from epsball.attacks.base import Attack, Bounds
from epsball.attacks.loop import default_step_size
from epsball.attacks.pgd import PGD
from epsball.training.method import Method, box, ramp


@dataclass(frozen=True)
class InnerPGD(Method):
    """Base of the methods with a PGD attack inside; its last point is trained on (Madry et al. 2018, arXiv 1706.06083).

    Parameters
    ----------
    eps, steps, step_size, norm, random_start, bounds, ramp
        As in `PGDTraining`.
    """

    eps: float = 0.3
    steps: int = 40
    step_size: float | None = None
    norm: str = "linf"
    random_start: bool = True
    bounds: Bounds = (0.0, 1.0)
    ramp: float = 0.0

    def __post_init__(self) -> None:
        most = float(FLOAT32.max)
        settle(
            self,
            eps=number("eps", self.eps, 0, most),
            steps=whole("steps", self.steps, 1),
            step_size=None if self.step_size is None else number("step_size", self.step_size, 0, most),
            norm=one_of("norm", self.norm, PGD.norms),
            random_start=flag("random_start", self.random_start),
            bounds=None if self.bounds is None else box(self.bounds),
            ramp=number("ramp", self.ramp, 0, 1),
        )

    def inner(self) -> dict[str, Any]:
        """Return the native settings of the attack."""
        lo, hi = box(self.bounds)
        size = default_step_size(self.eps, self.steps) if self.step_size is None else self.step_size
        return {"norm": self.norm, "eps": self.eps, "step_size": size, "steps": self.steps,
                "start": "ball" if self.random_start else "none", "start_radius": self.eps,
                "lo": lo, "hi": hi}  # fmt: skip

    def budget(self, epoch: float, epochs: int) -> float:
        """Return the factor on eps and steps `epoch` epochs into a run of `epochs`."""
        return ramp(self.ramp, epoch, epochs)

    def monitor(self) -> Attack:
        """Return the attack trained against."""
        return PGD(eps=self.eps, norm=self.norm, steps=self.steps, step_size=self.step_size,
                   random_start=self.random_start, bounds=self.bounds)  # fmt: skip
