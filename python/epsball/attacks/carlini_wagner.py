"""Carlini and Wagner's L2 attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import FLOAT32, flag, number, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.minimum_norm import MARGIN, run_minimum_norm
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class CarliniWagner(Attack):
    """Distance and margin minimised together by Adam (Carlini and Wagner 2017, arXiv 1608.04644).

    Minimises ‖x' − x‖₂² + c · max(κ − margin, 0) over coordinates w with x' = lo + (hi − lo)(tanh w + 1)/2, for
    constants c that a search finds row by row: ten times more until one succeeds, then by bisection. A row whose
    objective stops falling begins its next search at once. The nearest point over all searches that is misclassified
    by `confidence` counts; a row that has none returns x itself.

    Parameters
    ----------
    steps
        Adam's steps per search; the paper takes 10,000.
    search_steps
        Searches, each with its own constant.
    step_size
        Adam's learning rate.
    initial_constant
        c of the first search.
    confidence
        κ: by how much the margin must be positive.
    abort_early
        A search ends when its objective has not fallen by a ten-thousandth over a tenth of its steps.
    targeted
        y are the classes wanted, not the ones to leave.
    bounds, mask
        As in `PGD`. Without bounds Adam moves x' itself.
    norm
        "l2", which is what the attack minimises.
    """

    steps: int = 1000
    search_steps: int = 9
    step_size: float = 0.01
    initial_constant: float = 1e-3
    confidence: float = 0.0
    abort_early: bool = True
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    norm: str = "l2"

    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        check_search(self)
        super().__post_init__()

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_minimum_norm(
            self, _native.carlini_wagner, model, x, y, index, loss=MARGIN, judged=judged, trace=trace,
            **search_options(self), beta=0.0,
        )  # fmt: skip


def check_search(attack: Any) -> None:
    """Check the options that the attacks with a search for the constant have."""
    small, large = float(FLOAT32.tiny), 1e10
    settle(
        attack,
        steps=whole("steps", attack.steps, 1),
        search_steps=whole("search_steps", attack.search_steps, 1, 1000),
        step_size=number("step_size", attack.step_size, small, large),
        initial_constant=number("initial_constant", attack.initial_constant, small, large),
        confidence=number("confidence", attack.confidence, 0.0, large),
        abort_early=flag("abort_early", attack.abort_early),
    )


def search_options(attack: Any) -> dict[str, Any]:
    """Return what the native search is told."""
    return {
        "steps": attack.steps,
        "searches": attack.search_steps,
        "rate": attack.step_size,
        "constant": attack.initial_constant,
        "confidence": attack.confidence,
        "abort_early": attack.abort_early,
    }
