"""A step towards doubt before the model answers."""

from __future__ import annotations

import numpy as np

from epsball.arguments import FLOAT32, number
from epsball.arrays import as_numpy
from epsball.attacks.base import Bounds
from epsball.classifier import Classifier
from epsball.defences.base import Defence, logits_of, pull_through
from epsball.sources.base import Floats, Pull
from epsball.training.method import box


class ConfidenceReducing(Defence):
    """Move inputs by eps · sign of the gradient that lowers the model's confidence, and answer from there.

    The hope is that adversarial points lie close to the boundary they came over (a failed defence in Goodfellow's
    lectures). The attack that knows of it takes the step for the identity on the way back (BPDA; Athalye et al. 2018,
    arXiv 1802.00420), since its own derivative is 0 or undefined.

    Parameters
    ----------
    model
        What is defended.
    eps
        Length of the step, L∞.
    bounds
        (lower, upper) as numbers, or None for no box.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """

    def __init__(self, model: Classifier, eps: float = 0.05, bounds: Bounds = (0.0, 1.0)) -> None:
        super().__init__(model)
        self.eps = number("eps", eps, 0, float(FLOAT32.max))
        self.lo, self.hi = box(bounds)

    def move(self, x: Floats) -> Floats:
        """Return x after the step: up the cross-entropy of what the model says."""
        gradient = as_numpy("gradient", self.model.input_gradient(x, None))
        moved = np.clip(x + np.float32(self.eps) * np.sign(gradient), self.lo, self.hi)
        return np.asarray(moved, np.float32)

    def logits(self, x: Floats) -> Floats:
        """Return the model's logits after the step."""
        return logits_of(self.model, self.move(x))

    def vjp(self, x: Floats) -> tuple[Floats, Pull]:
        """Return the logits, and what pulls their gradient back."""
        seen = self.move(x)
        z = logits_of(self.model, seen)
        return z, lambda dlogits: pull_through(self.model, seen, z, dlogits)
