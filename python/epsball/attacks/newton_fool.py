"""NewtonFool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import FLOAT32, number, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.minimum_norm import CROSS_ENTROPY, run_minimum_norm
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class NewtonFool(Attack):
    """Small steps down the slope of the label's probability (Jang et al. 2017, doi 10.1145/3134600.3134635).

    A step is Newton's from the probability to that of chance, 1 / classes, and no longer than `eta` times the length of
    x. It goes along the gradient of the cross-entropy, which has the same direction and is not lost where the
    probability is all but 1. With two classes chance is the boundary itself, and the step aims at 0.49. A row leaves
    when it is misclassified; one that never is returns x itself. The paper has no box: here steps are clipped to it. A
    row of zeros does not move.

    Parameters
    ----------
    steps
        The most steps that a row takes.
    eta
        Longest step, as a share of the L2 length of x.
    bounds, mask
        As in `PGD`.
    norm
        "l2".
    """

    steps: int = 100
    eta: float = 0.01
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    norm: str = "l2"

    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, steps=whole("steps", self.steps, 1), eta=number("eta", self.eta, 0.0, float(FLOAT32.max)))

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_minimum_norm(
            self, _native.newton_fool, model, x, y, index, loss=CROSS_ENTROPY, judged=judged, trace=trace,
            early_stop=True, steps=self.steps, eta=self.eta,
        )  # fmt: skip
