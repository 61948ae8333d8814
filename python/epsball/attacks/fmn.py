"""Fast minimum norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import BELOW_ONE, FLOAT32, number, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.minimum_norm import MARGIN, run_minimum_norm
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class FMN(Attack):
    """Fast minimum norm: one descent that closes in on the boundary (Pintor et al. 2021, arXiv 2102.12827).

    A step is step_size · g / ‖g‖₂, g being the gradient of the margin; its end is projected, exactly and box included,
    onto a ball around x. The ball's radius shrinks by a factor 1 − gamma while the row is misclassified and grows by
    1 + gamma while it is not; before the first success it is the distance of the linearised boundary, times 1 + gamma.
    Every row keeps its nearest misclassified iterate; one that has none returns x itself.

    Parameters
    ----------
    norm
        "l2", "linf", "l1" or "l0" (the number of features that change).
    steps
        Gradient steps.
    step_size
        Length of the first step, in L2 whatever the norm; it falls to a hundredth along a cosine.
    gamma
        Relative change of the radius at the first step, in [0, 1); it falls to a fiftieth along a cosine.
    targeted
        y are the classes wanted, not the ones to leave.
    bounds, mask
        As in `PGD`.
    """

    norm: str = "l2"
    steps: int = 100
    step_size: float = 1.0
    gamma: float = 0.05
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0")

    def __post_init__(self) -> None:
        size = number("step_size", self.step_size, float(FLOAT32.tiny), float(FLOAT32.max))
        super().__post_init__()
        settle(
            self,
            steps=whole("steps", self.steps, 1),
            step_size=size,
            gamma=number("gamma", self.gamma, 0.0, BELOW_ONE),
        )

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_minimum_norm(
            self, _native.fmn, model, x, y, index, loss=MARGIN, judged=judged, trace=trace,
            steps=self.steps, step_size=self.step_size, gamma=self.gamma,
        )  # fmt: skip
