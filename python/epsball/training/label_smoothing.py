"""Training on softened labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball.arguments import number, settle
from epsball.arrays import Array
from epsball.attacks.base import Attack
from epsball.attacks.fgsm import FGSM
from epsball.model import Sequential
from epsball.training.method import Method, class_indices, part


@dataclass(frozen=True)
class LabelSmoothing(Method):
    """Minimise the cross-entropy to the labels mixed with the uniform distribution (Szegedy et al. 2016).

    arXiv 1512.00567: targets (1 − smoothing) · y + smoothing / K; of a one-logit model K is 2. As a defence it was
    proposed by Warde-Farley and Goodfellow (2016); it hides gradients more than it resists attacks. Class indices only.

    Parameters
    ----------
    smoothing
        Share of the uniform distribution, in [0, 1].
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        settle(self, smoothing=number("smoothing", self.smoothing, 0, 1))

    def check(self, model: Sequential, y: Any) -> None:
        """Refuse labels that are no class indices."""
        class_indices("LabelSmoothing", y)

    def targets(self, model: Sequential, x: Array, y: Array) -> Array:
        """Return the softened labels (N, K)."""
        hot = np.asarray(y)[:, None] == (np.ones(1) if model.classes == 1 else np.arange(model.classes))
        return np.asarray((1 - self.smoothing) * hot + self.smoothing / max(model.classes, 2), np.float32)

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        return {"parts": [part("clean", 1.0)]}

    def monitor(self) -> Attack:
        """Return the attack of `Standard`."""
        return FGSM(eps=0.25, bounds=None)
