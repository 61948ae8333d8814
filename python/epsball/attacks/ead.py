"""The elastic-net attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import _native
from epsball.arguments import number, settle
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.carlini_wagner import check_search, search_options
from epsball.attacks.minimum_norm import MARGIN, run_minimum_norm
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class EAD(Attack):
    """Elastic-net attack: a sparse relative of Carlini and Wagner's (Chen et al. 2018, arXiv 1709.04114).

    Minimises c · max(κ − margin, 0) + ‖x' − x‖₂² + β ‖x' − x‖₁ by FISTA: gradient steps of length step_size ·
    √(1 − t / steps), each followed by soft thresholding of x' − x by β and clipping to the box, with momentum. The
    search for c is that of `CarliniWagner`. Of the points misclassified with a margin of `confidence` the nearest in
    `norm` counts; a row that has none returns x itself.

    Parameters
    ----------
    norm
        "l1" or "l2": the distance by which a row's best point is chosen.
    beta
        β, weight of the L1 distance and threshold of every step.
    steps, search_steps, initial_constant, confidence, targeted
        As in `CarliniWagner`.
    abort_early
        End a constant early once over a fifth of its steps, but at least 20, its objective has fallen by less than a
        relative 1e-4 and no nearer point was found; or where its first gradient passes no threshold. False: more than
        twice as many steps.
    step_size
        Of the first gradient step.
    bounds, mask
        As in `PGD`.
    """

    norm: str = "l1"
    beta: float = 1e-3
    steps: int = 1000
    search_steps: int = 9
    step_size: float = 0.01
    initial_constant: float = 1e-3
    confidence: float = 0.0
    abort_early: bool = True
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None

    norms: ClassVar[tuple[str, ...]] = ("l2", "l1")

    def __post_init__(self) -> None:
        check_search(self)
        super().__post_init__()
        settle(self, beta=number("beta", self.beta, 0.0, 1e10))

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        return run_minimum_norm(
            self, _native.ead, model, x, y, index, loss=MARGIN, judged=judged, trace=trace,
            **search_options(self), beta=self.beta,
        )  # fmt: skip
