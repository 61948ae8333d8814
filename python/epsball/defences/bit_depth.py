"""Squeezing the bit depth of inputs."""

from __future__ import annotations

import numpy as np

from epsball.arguments import one_of, whole
from epsball.classifier import Classifier
from epsball.defences.base import Defence, logits_of, pull_through
from epsball.sources.base import Floats, Pull


class BitDepth(Defence):
    """Round inputs in [0, 1] to 2^bits levels before the model sees them (Xu et al. 2018, arXiv 1704.01155).

    Where inputs are mostly black or white, one bit does protect them, as few can be moved across the threshold. But
    rounding has the derivative 0, which hides the gradient and robs gradient attacks of a direction: masking, not
    robustness. The attack that knows of it takes rounding for the identity on the way back (BPDA; Athalye et al. 2018,
    arXiv 1802.00420).

    Parameters
    ----------
    model
        What is defended.
    bits
        Of every feature, 1 to 16.
    backward
        "identity" (BPDA), or "exact": 0, as the formula has it.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """

    def __init__(self, model: Classifier, bits: int = 1, backward: str = "identity") -> None:
        super().__init__(model)
        self.levels = 2 ** whole("bits", bits, 1, 16) - 1
        self.backward = one_of("backward", backward, ("identity", "exact"))

    def squeeze(self, x: Floats) -> Floats:
        """Return x with every feature at the nearest level."""
        return (np.round(x * np.float32(self.levels)) / np.float32(self.levels)).astype(np.float32)

    def logits(self, x: Floats) -> Floats:
        """Return the model's logits of squeezed x."""
        return logits_of(self.model, self.squeeze(x))

    def vjp(self, x: Floats) -> tuple[Floats, Pull]:
        """Return the logits, and what pulls their gradient back."""
        seen = self.squeeze(x)
        z = logits_of(self.model, seen)
        if self.backward == "exact":
            return z, lambda _dlogits: np.zeros_like(x)
        return z, lambda dlogits: pull_through(self.model, seen, z, dlogits)
