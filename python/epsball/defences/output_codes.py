"""Error-correcting output codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from epsball.arguments import flag
from epsball.arrays import as_numpy
from epsball.classifier import Classifier
from epsball.defences.base import Defence, logits_of, pull_through
from epsball.sources.base import Floats, Pull


class OutputCodes(Defence):
    """Classes are code words of many bits, and the nearest word is the answer (Dietterich and Bakiri 1995).

    The model's outputs are bits in (−1, 1) after a tanh, trained with ``eb.fit(model, x, codes[y],
    loss="squared_error")``; a class's logit is the dot product of its word with them. The attack that knows of it goes
    through the decoder, with the tanh in place of the sign where bits are decided before (BPDA; Athalye et al. 2018,
    arXiv 1802.00420).

    Parameters
    ----------
    model
        With one output per bit.
    codes
        (K, bits) of −1 and 1, a word per class, no two alike.
    hard
        Decide every bit before the words are compared (Hamming distance).

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """

    def __init__(self, model: Classifier, codes: Any, hard: bool = False) -> None:
        words = np.array(as_numpy("codes", codes), np.float32)
        bits = getattr(model, "classes", None)
        if bits is None:
            raise ValueError("model: wanted one that tells its number of outputs, such as TorchModel(..., classes=15)")
        if words.ndim != 2 or words.shape[1] != bits or not (np.abs(words) == 1).all():
            raise ValueError(f"codes: wanted -1 and 1 of shape (K, {bits}), a bit per output, got shape {words.shape}")
        if len(np.unique(words, axis=0)) != len(words) or len(words) < 2:
            raise ValueError("codes: wanted at least two words, no two alike")
        super().__init__(model, classes=len(words))
        self.codes, self.hard = words, flag("hard", hard)

    def logits(self, x: Floats) -> Floats:
        """Return how much each word agrees with the outputs, (N, K)."""
        z = logits_of(self.model, x)
        return np.asarray((np.where(z > 0, np.float32(1), np.float32(-1)) if self.hard else np.tanh(z)) @ self.codes.T)

    def vjp(self, x: Floats) -> tuple[Floats, Pull]:
        """Return the agreement, and what pulls its gradient back through the tanh."""
        z = logits_of(self.model, x)
        slope = 1 - np.tanh(z) ** 2

        def pull(dlogits: Floats) -> Floats:
            return pull_through(self.model, x, z, (dlogits @ self.codes) * slope)

        return self.logits(x), pull
