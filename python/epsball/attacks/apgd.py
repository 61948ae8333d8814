"""Auto-PGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball import _native
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.loop import Loop, run_loop
from epsball.classifier import Classifier


@dataclass(frozen=True, eq=False)
class APGD(Attack):
    """Auto-PGD (Croce and Hein 2020, arXiv 2003.01690), for L1 that of Croce and Hein (2021, arXiv 2103.01208).

    PGD with momentum and an adaptive step size, at first 2 eps. At checkpoints at shrinking distances the step is
    halved and the run continues from its best point if the loss rose in at most 75 % of the steps since the last
    checkpoint, or if neither step nor best loss changed since. As in the authors' code the second rule does not apply
    at the first checkpoint; unlike there, the first step counts as a rise only if the loss rose. Runs start on the
    ball's surface. For L1 a step changes few features, their number following the best point's sparsity, in balls of
    3, 2 and then 1 eps; only points of the last ball count.

    Every row keeps its best point over all iterates, restarts and targets: misclassified first, then the highest loss.

    Parameters
    ----------
    eps
        Radius of the ball: a number or one per row.
    norm
        "linf", "l2" or "l1".
    steps
        Gradient steps of each run; for L1 of its three balls together.
    restarts
        Runs per row, or per row and target.
    targeted
        Minimise the loss towards y instead of maximising it.
    targets
        0: away from the label. k > 0: k runs per restart, one towards each of the k classes with the largest logits at
        x, the label left out; any wrong class is a success. "dlr" is then the targeted ratio −(z_y − z_t) / (z_(1) −
        (z_(3) + z_(4)) / 2), which needs four classes; other losses are minimised towards the class.
    loss
        "cross_entropy", "dlr", "margin" or any other loss of `PGD`.
    model_draws
        For models with random logits: evaluations of which loss and gradient at each point are the mean (expectation
        over transformation, Athalye et al. 2018); each gradient is scaled so that the largest |∂loss/∂logit| is 1.
    bounds, mask, early_stop
        As in `PGD`.
    seed
        Of the starts, in [0, 2**64); a row's draw depends on it, on the row's index and on the run only.
    """

    eps: Any
    norm: str = "linf"
    steps: int = 100
    restarts: int = 1
    targeted: bool = False
    targets: int = 0
    loss: str = "cross_entropy"
    model_draws: int = 1
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    early_stop: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targeted and self.targets:
            raise ValueError(f"targets: wanted 0 with targeted=True, whose target is y, got {self.targets}")

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        loop = Loop(
            steps=self.steps,
            restarts=self.restarts,
            early_stop=self.early_stop,
            seed=self.seed,
            targets=self.targets,
            native=_native.apgd,
            more={"model_draws": self.model_draws},
        )
        return run_loop(self, loop, model, x, y, index, judged=judged, trace=trace)
