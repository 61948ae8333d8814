"""What defences around a model share."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np

from epsball.arguments import check_seed
from epsball.arrays import as_numpy
from epsball.classifier import Classifier
from epsball.sources.base import Floats, GradientSource, pulled_back


class Defence(GradientSource):
    """A classifier around another one, with a gradient that goes through the defence.

    Attributes
    ----------
    model
        What is defended; an attack on it does not know of the defence.
    """

    def __init__(self, model: Classifier, classes: int | None = None) -> None:
        self.model = defended(model)
        super().__init__(getattr(model, "input_shape", None), classes or getattr(model, "classes", None))

    def __repr__(self) -> str:
        values = {name: value for name, value in vars(self).items() if isinstance(value, int | float | str)}
        options = "".join(
            f", {name}={value!r}" for name, value in values.items() if name not in ("classes", "batch_size")
        )
        return f"{type(self).__name__}({self.model!r}{options})"


def defended(model: Any, name: str = "model") -> Classifier:
    """Return `model` if it has logits and gradients."""
    if not isinstance(model, Classifier):
        raise TypeError(f"{name}: wanted an epsball model or gradient source, got {type(model).__name__}")
    return model


def logits_of(model: Classifier, x: Floats) -> Floats:
    """Return a model's logits (rows, classes) as a NumPy array."""
    return np.asarray(as_numpy("logits", model(x)), np.float32)


def pull_through(model: Classifier, x: Floats, logits: Floats, dlogits: Floats) -> Floats:
    """Return the gradient of ``(dlogits * logits).sum()`` at x, 0 where dlogits is."""
    return np.asarray(pulled_back(model, x, logits, dlogits), np.float32)


class Draws:
    """Random generators, a new one for every call: a defender does not throw the same dice twice."""

    def __init__(self, seed: int) -> None:
        self.seed, self.calls, self._lock = check_seed(seed), 0, Lock()

    def __getstate__(self) -> dict[str, int]:
        """Return what a copy or a pickle goes on from: all but the lock."""
        return {"seed": self.seed, "calls": self.calls}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()

    def next(self) -> np.random.Generator:
        """Return the next generator."""
        with self._lock:
            self.calls += 1
            return np.random.default_rng([self.seed, self.calls])
