"""Noise on inputs at test time."""

from __future__ import annotations

import numpy as np

from epsball.arguments import FLOAT32, number, whole
from epsball.classifier import Classifier
from epsball.defences.base import Defence, Draws, logits_of, pull_through
from epsball.sources.base import Floats, Pull


class TestTimeNoise(Defence):
    """Add N(0, sigma²) to inputs before the model sees them, anew for every answer.

    Answers are random, and so is a single gradient. The attack that knows of it averages both over many draws
    (expectation over transformation, EOT; Athalye et al. 2018, arXiv 1802.00420).

    Parameters
    ----------
    model
        What is defended.
    sigma
        Standard deviation of the noise.
    draws
        Noisy copies whose logits are averaged for an answer.
    eot
        Copies that a gradient is averaged over.
    seed
        Of the noise; every call draws anew, so results depend on how many calls there were before.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """

    __test__ = False  # pytest takes it for a class of tests

    def __init__(self, model: Classifier, sigma: float = 0.1, draws: int = 1, eot: int = 16, seed: int = 0) -> None:
        super().__init__(model)
        self.sigma = number("sigma", sigma, 0, float(FLOAT32.max))
        self.draws, self.eot = whole("draws", draws, 1), whole("eot", eot, 1)
        self._draws = Draws(seed)

    def logits(self, x: Floats) -> Floats:
        """Return the mean logits over `draws` noisy copies."""
        return np.asarray(np.mean([logits_of(self.model, copy) for copy in self._copies(x, self.draws)], axis=0))

    def vjp(self, x: Floats) -> tuple[Floats, Pull]:
        """Return the mean logits over `eot` copies, and the mean of their gradients."""
        copies = self._copies(x, self.eot)
        each = [logits_of(self.model, copy) for copy in copies]

        def pull(dlogits: Floats) -> Floats:
            gradients = [pull_through(self.model, c, z, dlogits) for c, z in zip(copies, each, strict=True)]
            return np.asarray(np.mean(gradients, axis=0))

        return np.mean(each, axis=0), pull

    def _copies(self, x: Floats, count: int) -> list[Floats]:
        noise = self._draws.next()
        return [x + np.float32(self.sigma) * noise.standard_normal(x.shape, np.float32) for _ in range(count)]
