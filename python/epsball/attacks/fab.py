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

#: The authors' default of eps, which bounds where restarts begin.
RADII = {"linf": 0.3, "l2": 1.0, "l1": 5.0}


@dataclass(frozen=True, eq=False)
class FAB(Attack):
    """Fast adaptive boundary attack, FAB and FAB-T (Croce and Hein 2020, arXiv 1907.02044).

    The boundary to a rival class is taken as a plane. The current point and x are both projected onto it, exactly
    within the box, and the next point lies between the two, a little beyond; once misclassified it is drawn back
    towards x. Every row keeps its nearest misclassified iterate; one that has none returns x itself.
    Runs after the first start at random points around x.

    Parameters
    ----------
    norm
        "l2", "linf" or "l1".
    steps
        Projections per run.
    targets
        0: the nearest plane of all rival classes at every step, a backward pass for each (FAB). k > 0: k runs, one
        towards each of the k classes with the largest logits at x, the label left out (FAB-T; AutoAttack takes 9).
    alpha
        The largest weight of x's own projection in the next point, in [0, 1].
    eta
        How far beyond the plane projections go: 1 is on it.
    beta
        What is left of an adversarial perturbation when it is drawn back, in [0, 1].
    bounds, mask
        As in `PGD`.
    restarts
        Runs, for every class with `targets`: the first from x; every other from a random point whose distance from x is
        half that of the nearest misclassified point so far, and no more than half of `radius`.
    radius
        None: 0.3 (L∞), 1 (L2) or 5 (L1), the authors' default of eps.
    seed
        Of restarts, in [0, 2**64); a row's draws depend on it and on the row's index only.
    """

    norm: str = "l2"
    steps: int = 100
    targets: int = 0
    alpha: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    restarts: int = 1
    radius: float | None = None
    seed: int = 0

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(
            self,
            steps=whole("steps", self.steps, 1),
            alpha=number("alpha", self.alpha, 0.0, 1.0),
            eta=number("eta", self.eta, 1.0, float(FLOAT32.max)),
            beta=number("beta", self.beta, 0.0, 1.0),
            radius=None if self.radius is None else number("radius", self.radius, 0.0, float(FLOAT32.max)),
        )

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_minimum_norm(
            self, _native.fab, model, x, y, index, loss=MARGIN, judged=judged, trace=trace,
            steps=self.steps, rivals=self.targets, alpha=self.alpha, eta=self.eta, beta=self.beta,
            restarts=self.restarts, radius=RADII[self.norm] if self.radius is None else self.radius,
        )  # fmt: skip
