"""Jitter: PGD on a loss that no scale of the logits flattens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import number, settle
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import run_loop
from epsball.attacks.momentum_pgd import averaging_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Jitter(Attack):
    """PGD on the squared error of softmax(scale · z / max|z|) (Schwinn et al. 2021, arXiv 2105.10304).

    Logits of any size so give gradients that count all classes, and noise on the probabilities sends steps to other
    classes than the next one. The loss reported, and by which points are compared, is without noise. The paper
    divides the loss of rows that are misclassified by their distance, so that they come back to x; here they are done.
    The same loss without noise is ``loss="jitter"`` of other attacks.

    Parameters
    ----------
    scale
        The largest magnitude of the logits before the softmax, > 0.
    noise
        Standard deviation of what is added to the probabilities for a gradient, ≥ 0.
    eps, norm, steps, step_size, restarts, random_start, targeted, bounds, mask, early_stop, seed
        As in `PGD`.
    """

    eps: Any
    norm: str = "linf"
    steps: int = 10
    step_size: Any = None
    scale: float = 10.0
    noise: float = 0.1
    restarts: int = 1
    random_start: bool = True
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = False
    seed: int = 0

    loss = "jitter"

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, scale=number("scale", self.scale, 1e-3, 1e3), noise=number("noise", self.noise, 0.0, 1e6))

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        loop = averaging_loop(self, stretch=self.scale, noise_size=self.noise)
        loop.restarts, loop.random_start = self.restarts, "ball" if self.random_start else "none"
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)
