"""Random points of the ball: what an attack that looks at gradients must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import one_of
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import Loop, run_loop
from epsball.classifier import Classifier

#: What a draw is called here and in the engine.
NOISES = {"uniform": "ball", "gaussian": "gaussian", "salt_and_pepper": "salt_and_pepper", "corners": "signs"}


@dataclass(frozen=True, eq=False)
class RandomSearch(Attack):
    """The best of many random points, one of the checks of Carlini et al. (2019, arXiv 1902.06705).

    It asks the model for logits and never for a gradient. A model that random points break but gradients do not masks
    its gradients.

    Parameters
    ----------
    eps, norm
        As in `PGD`.
    noise
        "uniform": uniform in the ball. "gaussian": Gaussian of norm eps on average (L∞: of standard deviation eps),
        projected onto the ball. "salt_and_pepper": a random part of the features jumps to an end of the box or of
        [x − eps, x + eps], whichever is nearer. "corners": every feature by eps up or down. The last two are projected
        onto L2 and L1 balls.
    draws
        Points per row.
    targeted, loss, bounds, mask, early_stop, seed
        As in `PGD`.
    """

    needs = "scores"

    eps: Any
    norm: str = "linf"
    noise: str = "uniform"
    draws: int = 1000
    targeted: bool = False
    loss: str = "margin"
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("noise", self.noise, NOISES)

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        loop = Loop(
            restarts=self.draws,
            random_start=NOISES[self.noise],
            early_stop=self.early_stop,
            seed=self.seed,
        )
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)
