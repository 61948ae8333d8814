"""Decoupled direction and norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import BELOW_ONE, FLOAT32, number, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.minimum_norm import run_minimum_norm
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class DDN(Attack):
    """Decoupled direction and norm: small L2 perturbations in few steps (Rony et al. 2019, arXiv 1811.09600).

    The gradient of the loss gives the direction; a step along it is brought onto a sphere around x whose
    radius shrinks by `gamma` once the row is misclassified and grows by it while it is not. Step lengths fall from 1
    to 0.01 along a cosine. Every row keeps its nearest misclassified iterate; one that has none returns x itself.
    Iterates are not rounded to 256 levels, which the paper leaves open; a zero gradient moves nothing.

    Parameters
    ----------
    steps
        Gradient steps.
    gamma
        Relative change of the radius in a step, in [0, 1).
    initial_radius
        Of the first sphere.
    targeted
        y are the classes wanted, not the ones to leave.
    bounds, mask
        As in `PGD`.
    norm
        "l2", which is what the attack minimises.
    loss
        "cross_entropy", the paper's, or another of `PGD`. Of three classes or more, where the gradient of the
        cross-entropy leans towards all of them, points on the way to one are nearer with "margin".
    """

    steps: int = 300
    gamma: float = 0.05
    initial_radius: float = 1.0
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    norm: str = "l2"
    loss: str = "cross_entropy"

    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(
            self,
            steps=whole("steps", self.steps, 1),
            gamma=number("gamma", self.gamma, 0.0, BELOW_ONE),
            initial_radius=number("initial_radius", self.initial_radius, float(FLOAT32.tiny), float(FLOAT32.max)),
        )

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_minimum_norm(
            self, _native.ddn, model, x, y, index, loss=self.loss, judged=judged, trace=trace,
            steps=self.steps, gamma=self.gamma, initial_radius=self.initial_radius,
        )  # fmt: skip
