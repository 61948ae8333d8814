"""Szegedy's attack by L-BFGS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import FLOAT32, number, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found, check_model
from epsball.attacks.minimum_norm import CROSS_ENTROPY, run_minimum_norm
from epsball.attacks.targets import target_labels
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class LBFGS(Attack):
    """Squared distance and cross-entropy towards a class, minimised in the box (Szegedy et al. 2014, arXiv 1312.6199).

    Minimises ‖x' − x‖₂² + c · CE(x', target) by L-BFGS within the box, every row by itself, with its own c: ten times
    more until one succeeds, then by bisection towards the smallest that does (the paper weighs the distance instead).
    A feature at a bound is free if the gradient points inwards (Bertsekas 1982): a change of variables would flatten
    the objective there, where most pixels of a digit lie. The nearest misclassified point met anywhere counts; a row
    that has none returns x itself.

    Parameters
    ----------
    steps
        The most evaluations for each constant; a search whose objective no longer falls ends earlier.
    search_steps
        How many constants are tried.
    initial_constant
        The first c.
    targeted
        y are the classes wanted. If False, y are the classes to leave and every row aims at the one that comes next at
        x, stopping at any; ``result.loss`` is the cross-entropy towards it. The nearest of all classes:
        `best_of_targets`.
    bounds, mask
        As in `PGD`.
    norm
        "l2", which is what the attack minimises.
    """

    steps: int = 100
    search_steps: int = 15
    initial_constant: float = 1e-2
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    norm: str = "l2"

    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(
            self,
            steps=whole("steps", self.steps, 1),
            search_steps=whole("search_steps", self.search_steps, 1, 1000),
            initial_constant=number("initial_constant", self.initial_constant, float(FLOAT32.tiny), 1e10),
        )

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        check_model(model)
        return run_minimum_norm(
            self, _native.lbfgs, model, x, y, index, loss=CROSS_ENTROPY, judged=judged, trace=trace,
            target=None if self.targeted else target_labels(model, x, y, "likeliest"),
            steps=self.steps, searches=self.search_steps, constant=self.initial_constant,
        )  # fmt: skip
