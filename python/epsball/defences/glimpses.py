"""Several glimpses of an image."""

from __future__ import annotations

import numpy as np

from epsball.arguments import whole
from epsball.classifier import Classifier
from epsball.defences.base import Defence, Draws, logits_of, pull_through
from epsball.sources.base import Floats, Pull, Shape


class Glimpses(Defence):
    """Average the logits over random glimpses of an image: windows of it, the rest black, each moved by some pixels.

    Looking twice, or at crops, breaks an attack that was made for the whole image in its place; the attack that knows
    averages gradients over glimpses (EOT; Athalye et al. 2018, arXiv 1802.00420).

    Parameters
    ----------
    model
        What is defended; of images (channels, height, width).
    margin
        Pixels by which the window is smaller than the image, on each side, and by which it may move.
    draws
        Glimpses of an answer.
    eot
        Glimpses that a gradient is averaged over.
    seed
        Of the places; every call draws anew, so results depend on how many calls there were before.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """

    def __init__(self, model: Classifier, margin: int = 2, draws: int = 4, eot: int = 16, seed: int = 0) -> None:
        super().__init__(model)
        if self.input_shape is None or len(self.input_shape) != 3:
            raise ValueError(f"model: wanted one of images (channels, height, width), got inputs {self.input_shape}")
        self.margin = whole("margin", margin, 0, (min(self.input_shape[1:]) - 1) // 2)
        self.draws, self.eot = whole("draws", draws, 1), whole("eot", eot, 1)
        self._draws = Draws(seed)

    def logits(self, x: Floats) -> Floats:
        """Return the mean logits over `draws` glimpses."""
        each = [logits_of(self.model, self._seen(x, at)) for at in self._places(self.draws)]
        return np.asarray(np.mean(each, axis=0))

    def vjp(self, x: Floats) -> tuple[Floats, Pull]:
        """Return the mean logits over `eot` glimpses, and the mean of their gradients."""
        places = self._places(self.eot)
        seen = [self._seen(x, at) for at in places]
        each = [logits_of(self.model, glimpse) for glimpse in seen]

        def pull(dlogits: Floats) -> Floats:
            gradient = np.zeros_like(x)
            for at, glimpse, z in zip(places, seen, each, strict=True):
                self._window(gradient, (at[0], at[1]))[...] += self._window(
                    pull_through(self.model, glimpse, z, dlogits), (at[2], at[3])
                )
            return np.asarray(gradient / np.float32(len(places)))

        return np.mean(each, axis=0), pull

    def _places(self, count: int) -> list[Shape]:
        """Draw where windows are taken from (two offsets) and where they are put."""
        return [tuple(p) for p in self._draws.next().integers(0, 2 * self.margin + 1, (count, 4)).tolist()]

    def _seen(self, x: Floats, at: Shape) -> Floats:
        glimpse = np.zeros_like(x)
        self._window(glimpse, (at[2], at[3]))[...] = self._window(x, (at[0], at[1]))
        return glimpse

    def _window(self, x: Floats, first: tuple[int, int]) -> Floats:
        down, across = (n - 2 * self.margin for n in x.shape[2:])
        return x[:, :, first[0] : first[0] + down, first[1] : first[1] + across]
