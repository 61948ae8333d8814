"""Carlini and Wagner's attacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import FLOAT32, flag, number, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.minimum_norm import MARGIN, run_minimum_norm
from epsball.classifier import Classifier

CONSTANTS = {"l2": (9, 1e-3), "linf": (21, 1e-5), "l0": (31, 1e-3)}  # how many, and the first, of the authors' code


@dataclass(frozen=True, eq=False)
class CarliniWagner(Attack):
    """Distance and margin minimised together by Adam (Carlini and Wagner 2017, arXiv 1608.04644).

    Adam moves coordinates w with x' = lo + (hi − lo)(tanh w + 1)/2 along the gradient of a distance plus
    c · max(κ − margin, 0). Every row has its own c. The nearest point met anywhere that is misclassified by
    `confidence` counts; a row that has none returns x itself.

    "l2": ‖x' − x‖₂². c grows tenfold until one succeeds, each going on from the point that the last has reached: pixels
    on the box move so slowly at first that a few hundred steps from x would not get far with any c. Then bisection
    seeks the smallest that succeeds, each starting from x.

    "linf": Σ max(|x'ᵢ − xᵢ| − τ, 0). Where a misclassified point lies within τ, τ falls to 0.9 of it, or of the point's
    distance if that is less; where none does, c doubles. Each round continues from the last point.

    "l0": ‖x' − x‖₂² over the features that are not frozen. From a misclassified point the features that matter least,
    by |∂margin/∂xᵢ · (x'ᵢ − xᵢ)|, go back to x and stay there: 0.3 √n of the n that have changed, fewer where one of
    them costs more than 0.01. Where no point is found, c doubles. Each round continues from the last point.

    Parameters
    ----------
    steps
        Adam's steps for each constant; the paper takes 10,000 for L2. "linf" and "l0" count them anew after every
        point found, up to steps · search_steps in all.
    search_steps
        How many constants are tried; None: 9 for "l2", 21 for "linf" and 31 for "l0", after which doubling passes the
        authors' limits of 20 and 2·10⁶.
    step_size
        Adam's learning rate.
    initial_constant
        The first c; None: 1e-3, for "linf" 1e-5.
    confidence
        κ: by how much the margin must be positive.
    abort_early
        End a constant early once its objective has fallen by less than a relative 1e-4 over a tenth of its steps, for
        "l2" over at least 100.
    targeted
        y are the classes wanted, not the ones to leave.
    bounds, mask
        As in `PGD`. Without bounds Adam moves x' itself.
    norm
        "l2", "linf" or "l0", which counts features.
    """

    steps: int = 1000
    search_steps: int | None = None
    step_size: float = 0.01
    initial_constant: float | None = None
    confidence: float = 0.0
    abort_early: bool = True
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    norm: str = "l2"

    norms: ClassVar[tuple[str, ...]] = ("l2", "linf", "l0")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_search(self, *CONSTANTS[self.norm])

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_minimum_norm(
            self, _native.carlini_wagner, model, x, y, index, loss=MARGIN, judged=judged, trace=trace,
            **search_options(self, *CONSTANTS[self.norm]), beta=0.0,
        )  # fmt: skip


def check_search(attack: Any, searches: int | None = None, constant: float | None = None) -> None:
    """Check the options that the attacks with a search for the constant have; None where these stand for it."""
    small, large = float(FLOAT32.tiny), 1e10
    first, count = attack.initial_constant, attack.search_steps
    if first is not None or constant is None:
        settle(attack, initial_constant=number("initial_constant", first, small, large))
    if count is not None or searches is None:
        settle(attack, search_steps=whole("search_steps", count, 1, 1000))
    settle(
        attack,
        steps=whole("steps", attack.steps, 1),
        step_size=number("step_size", attack.step_size, small, large),
        confidence=number("confidence", attack.confidence, 0.0, large),
        abort_early=flag("abort_early", attack.abort_early),
    )


def search_options(attack: Any, searches: int | None = None, constant: float | None = None) -> dict[str, Any]:
    """Return what the native search is told; the numbers stand for None."""
    return {
        "steps": attack.steps,
        "searches": searches if attack.search_steps is None else attack.search_steps,
        "rate": attack.step_size,
        "constant": constant if attack.initial_constant is None else attack.initial_constant,
        "confidence": attack.confidence,
        "abort_early": attack.abort_early,
    }
