"""DeepFool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import FLOAT32, number, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.minimum_norm import MARGIN, run_minimum_norm
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class DeepFool(Attack):
    """Steps to the nearest boundary of the linearised model (Moosavi-Dezfooli et al. 2016, arXiv 1511.04599).

    Each step goes to the nearest plane among those of the rival classes; the point judged lies `overshoot` further
    from x. A row leaves when it is misclassified; one that never is returns x itself. The paper has no box: here
    steps are clipped to it.

    Parameters
    ----------
    norm
        "l2" or "linf".
    steps
        The most steps that a row takes.
    overshoot
        How much further than its steps a point lies from x, as a share.
    candidates
        Rival classes looked at, those with the highest logits at x; None: all. Each costs a backward pass a step.
    bounds, mask
        As in `PGD`.
    """

    norm: str = "l2"
    steps: int = 50
    overshoot: float = 0.02
    candidates: int | None = 10
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(
            self,
            steps=whole("steps", self.steps, 1),
            overshoot=number("overshoot", self.overshoot, 0.0, float(FLOAT32.max)),
            candidates=None if self.candidates is None else whole("candidates", self.candidates, 1),
        )

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_minimum_norm(
            self, _native.deepfool, model, x, y, index, loss=MARGIN, judged=judged, trace=trace, early_stop=True,
            steps=self.steps, overshoot=self.overshoot, candidates=self.candidates or 0,
        )  # fmt: skip
