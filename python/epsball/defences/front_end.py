"""A network that cleans inputs before the model sees them."""

from __future__ import annotations

import math

import numpy as np

from epsball.arguments import one_of
from epsball.classifier import Classifier
from epsball.defences.base import Defence, defended, logits_of, pull_through
from epsball.sources.base import Floats, Pull


class FrontEnd(Defence):
    """Let an autoencoder remove the perturbation (Gu and Rigazio 2015, arXiv 1412.5068, who find the stack attackable).

    Train the front end with ``eb.fit(front, noisy, clean.reshape(N, -1), loss="squared_error")``.

    Parameters
    ----------
    model
        What is defended.
    front
        An epsball model or gradient source whose number of outputs is the model's number of inputs.
    backward
        "end_to_end": the gradient goes through both; "identity": the front end is taken for the identity on the way
        back (BPDA; Athalye et al. 2018, arXiv 1802.00420), as if only its outputs were known.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """

    def __init__(self, model: Classifier, front: Classifier, backward: str = "end_to_end") -> None:
        super().__init__(model)
        self.front = defended(front, "front")
        outputs = getattr(front, "classes", None)
        if self.input_shape is None:
            raise ValueError("model: wanted one that tells its inputs' shape, such as TorchModel(..., input_shape=...)")
        if outputs != math.prod(self.input_shape):
            raise ValueError(f"front: wanted one output per input of the model, {self.input_shape}, got {outputs}")
        self.backward = one_of("backward", backward, ("end_to_end", "identity"))

    def __repr__(self) -> str:
        return f"FrontEnd({self.model!r}, {self.front!r}, {self.backward!r})"

    def logits(self, x: Floats) -> Floats:
        """Return the model's logits of what the front end makes of x."""
        return logits_of(self.model, logits_of(self.front, x).reshape(x.shape))

    def vjp(self, x: Floats) -> tuple[Floats, Pull]:
        """Return the logits, and what pulls their gradient back."""
        cleaned = logits_of(self.front, x)
        seen = cleaned.reshape(x.shape)
        z = logits_of(self.model, seen)

        def pull(dlogits: Floats) -> Floats:
            gradient = pull_through(self.model, seen, z, dlogits)
            if self.backward == "identity":
                return gradient
            return pull_through(self.front, x, cleaned, gradient.reshape(cleaned.shape))

        return np.asarray(z), pull
