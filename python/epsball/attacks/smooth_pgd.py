"""PGD on what a model says on average under noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import one_of, settle
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import run_loop
from epsball.attacks.momentum_pgd import averaging_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class SmoothPGD(Attack):
    """PGD against a smoothed classifier (SmoothAdv, Salman et al. 2019, arXiv 1906.04584).

    A step follows the gradient of −log of the label's mean probability over `samples` noisy copies of x, drawn anew.
    The result is the last iterate: it is meant for the smoothed classifier (`evaluation.Smoothed`), while
    ``result.success`` and ``result.loss`` are the model's own, at the point without noise.

    Parameters
    ----------
    sigma
        Standard deviation of the noise, or half of the interval it is uniform in, > 0.
    samples
        Copies per step.
    noise
        "normal" or "uniform".
    eps, norm, steps, step_size, targeted, bounds, mask, seed
        As in `PGD`; it starts at x, as in the authors' code.
    """

    eps: Any
    norm: str = "l2"
    steps: int = 10
    step_size: Any = None
    sigma: float = 0.25
    samples: int = 8
    noise: str = "normal"
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    seed: int = 0

    loss = "cross_entropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, noise=one_of("noise", self.noise, ("normal", "uniform")))

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        loop = averaging_loop(self, copies=self.samples, noise=self.noise, sigma=self.sigma, mixture=True)
        loop.keep_best = False
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)
