"""The fast adaptive boundary attack."""

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
class FAB(Attack):
    """Fast adaptive boundary attack, FAB and FAB-T (Croce and Hein 2020, arXiv 1907.02044).

    The boundary to a rival class is taken as a plane. The current point and x are both projected onto it, exactly
    within the box, and the next point lies between the two, a little beyond; once misclassified it is drawn back
    towards x. Every row keeps its nearest misclassified iterate; one that has none returns x itself. There is one run,
    from x, without random restarts.

    Parameters
    ----------
    norm
        "l2", "linf" or "l1".
    steps
        Projections per run.
    targets
        0: the nearest plane of all rival classes at every step, a backward pass for each (FAB). More: as many runs,
        each towards one of the classes with the highest logits at x (FAB-T; AutoAttack takes 9).
    alpha
        The most that a step leans towards x's own projection, in [0, 1].
    eta
        How far beyond the plane projections go: 1 is on it.
    beta
        What is left of an adversarial perturbation when it is drawn back, in [0, 1].
    bounds, mask
        As in `PGD`.
    """

    norm: str = "l2"
    steps: int = 100
    targets: int = 0
    alpha: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(
            self,
            steps=whole("steps", self.steps, 1),
            alpha=number("alpha", self.alpha, 0.0, 1.0),
            eta=number("eta", self.eta, 1.0, float(FLOAT32.max)),
            beta=number("beta", self.beta, 0.0, 1.0),
        )

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_minimum_norm(
            self, _native.fab, model, x, y, index, loss=MARGIN, judged=judged, trace=trace,
            steps=self.steps, rivals=self.targets, alpha=self.alpha, eta=self.eta, beta=self.beta,
        )  # fmt: skip
