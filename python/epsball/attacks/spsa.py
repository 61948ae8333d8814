"""Gradients estimated from the logits of random points: SPSA and NES."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import Loop, default_step_size, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class SPSA(Attack):
    """PGD with Adam on estimated gradients (Uesato et al. 2018, arXiv 1802.05666); asks the model for logits only.

    The gradient at x is the mean of (loss(x + delta · v) − loss(x − delta · v)) / (2 · delta) · v over directions v of
    random signs. Probes may lie outside ball and box; they are never the result.

    Parameters
    ----------
    samples
        Pairs of points per step.
    delta
        Step of the finite difference, per feature.
    eps, norm, steps, step_size, targeted, loss, bounds, mask, early_stop, seed
        As in `AdamPGD`; it starts at x.
    """

    norms = ("linf", "l2")
    needs = "scores"

    eps: Any
    norm: str = "linf"
    steps: int = 100
    step_size: Any = 0.01
    samples: int = 64
    delta: float = 0.01
    targeted: bool = False
    loss: str = "margin"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = True
    seed: int = 0

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        loop = _loop(self, self.delta)
        loop.adam, loop.decay, loop.decay_squares = True, 0.9, 0.999
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)


@dataclass(frozen=True, eq=False)
class NES(Attack):
    """PGD on gradients estimated by natural evolution strategies (Ilyas et al. 2018, arXiv 1804.08598); logits only.

    As `SPSA`, with Gaussian directions and the steps of `PGD`.

    Parameters
    ----------
    samples
        Pairs of points per step.
    sigma
        Standard deviation of the points around x, per feature.
    eps, norm, steps, step_size, targeted, loss, bounds, mask, early_stop, seed
        As in `PGD`; it starts at x.
    """

    needs = "scores"

    eps: Any
    norm: str = "linf"
    steps: int = 100
    step_size: Any = None
    samples: int = 50
    sigma: float = 0.001
    targeted: bool = False
    loss: str = "cross_entropy"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = True
    seed: int = 0

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        loop = _loop(self, self.sigma)
        loop.noise = "normal"
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)


def _loop(attack: SPSA | NES, delta: float) -> Loop:
    size = attack.step_size
    return Loop(
        steps=attack.steps,
        step_size=default_step_size(attack.eps, attack.steps) if size is None else size,
        early_stop=attack.early_stop,
        seed=attack.seed,
        samples=attack.samples,
        delta=delta,
    )
