"""The Jacobian-based saliency map attack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from epsball import _native
from epsball.arguments import FLOAT32, flag, number, settle
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds, Found
from epsball.attacks.minimum_norm import MARGIN, run_minimum_norm
from epsball.classifier import Classifier

MOST_STEPS = 2**24


@dataclass(frozen=True, eq=False)
class JSMA(Attack):
    """Two features at a time, by the saliency map of a target class (Papernot et al. 2016, arXiv 1511.07528).

    Of all pairs of features whose change raises the target's logit and lowers the sum of the others, the pair with the
    largest product of these two derivatives (searched exhaustively; of ties the first) moves by `theta` and is not
    moved again. A feature with less than a tenth of that left to the end of the box is no candidate: the map takes both
    to move alike. A row ends when it is misclassified, when there is no such pair, or when `gamma` of its features have
    changed; it then returns x itself unless it succeeded.

    Parameters
    ----------
    theta
        How far a feature moves, clipped to the box.
    gamma
        Share of the features that may change, in [0, 1].
    increase
        Features rise; False: they fall.
    targeted
        y are the classes wanted. If False, y are the classes to leave and every row aims at the one that comes next at
        x, stopping at any.
    repeat
        Features that have moved may move again, until they are at the end of the box: for a small `theta`. A row then
        ends after as many steps as would take `gamma` of its features from one end of the box to the other, of length 1
        if there is none.
    others
        False: the other classes' logits are not looked at, and the two features that raise the target's most move, as
        in ART: where no pair lowers the others' sum, this one goes on.
    bounds, mask
        As in `PGD`.
    norm
        "l0": distances count changed features.
    """

    theta: float = 1.0
    gamma: float = 1.0
    increase: bool = True
    targeted: bool = False
    bounds: Bounds = (0.0, 1.0)
    mask: Any = None
    norm: str = "l0"
    repeat: bool = False
    others: bool = True

    norms: ClassVar[tuple[str, ...]] = ("l0",)

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(
            self,
            theta=number("theta", self.theta, float(FLOAT32.tiny), float(FLOAT32.max)),
            gamma=number("gamma", self.gamma, 0.0, 1.0),
            increase=flag("increase", self.increase),
            repeat=flag("repeat", self.repeat),
            others=flag("others", self.others),
        )

    def _attack(self, model: Classifier, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        pairs = math.prod(x.shape[1:]) * self.gamma / 2
        steps = min(pairs * self._width() / self.theta, MOST_STEPS) if self.repeat else pairs
        return run_minimum_norm(
            self, _native.jsma, model, x, y, index, loss=MARGIN, judged=judged, trace=trace, early_stop=True,
            steps=int(steps), theta=self.theta, increase=self.increase, again=self.repeat, others=self.others,
        )  # fmt: skip

    def _width(self) -> float:
        """Return the length of the box, where it is longest."""
        if self.bounds is None:
            return 1.0
        lower, upper = (np.asarray(side, np.float64) for side in self.bounds)
        return float((upper - lower).max())
