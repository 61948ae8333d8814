"""The direction of virtual adversarial training as an attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import FLOAT32, number, settle, whole
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import Loop, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class VirtualAdversarial(Attack):
    """A step to where the prediction changes fastest, whatever the label (Miyato et al. 2018, arXiv 1704.03976).

    The step is eps · g / ‖g‖₂, clipped to the box. g is the gradient of KL(p(x) ‖ p(x + d)) at a d of length xi, random
    at first: power iteration for the top eigenvector of the divergence's Hessian at d = 0. y only judges success.

    Parameters
    ----------
    eps
        Size of the step: a number or one per row.
    steps
        Of the power iteration.
    xi
        Length of the finite difference. In float32 the authors' 1e-6 drowns in rounding; 1e-2 finds the direction.
    bounds, mask, seed
        As in `PGD`.
    norm
        "l2", in which the curvature is measured.
    """

    eps: Any
    steps: int = 1
    xi: float = 1e-2
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    seed: int = 0
    norm: str = "l2"

    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, steps=whole("steps", self.steps, 1), xi=number("xi", self.xi, 1e-6, float(FLOAT32.max)))

    @property
    def loss(self) -> str:
        """The loss reported."""
        return "cross_entropy"

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        loop = Loop(
            steps=self.steps, reach=self.xi, keep_best=False, seed=self.seed, native=_native.virtual_adversarial
        )
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)
