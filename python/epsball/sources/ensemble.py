"""Several models as one: what fools their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import one_of
from epsball.arrays import as_numpy
from epsball.classifier import Classifier
from epsball.sources.base import Floats, GradientSource, Pull, pulled_back

MEANS = ("logits", "probabilities", "losses")
Doubles = npt.NDArray[np.float64]


class Ensemble(GradientSource):
    """The mean of models, attacked and asked as one model (Liu et al. 2017, arXiv 1611.02770).

    With the mean of probabilities the logits are log Σ_m w_m p_m, so that their softmax is that mean and the
    cross-entropy is the one of the paper. With that of losses they are Σ_m w_m log p_m: an attack with ``loss="logit"``
    climbs the mean of the members' cross-entropies, without a normalisation.

    Parameters
    ----------
    models
        At least one: epsball's own or gradient sources, with the same number of classes.
    mean
        What is averaged: "logits", or for two logits or more "probabilities" or "losses".
    weights
        One for each model, not negative; they are divided by their sum. None: the same for all.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.

    Examples
    --------
    >>> import epsball as eb
    >>> both = eb.Ensemble([eb.models.linear(4, 3), eb.models.mlp([4, 8, 3])])
    >>> both(eb.datasets.load("mnist-subset", split="test")[0].reshape(-1, 4)[:2]).shape
    (2, 3)
    """

    def __init__(self, models: Sequence[Classifier], mean: str = "logits", weights: Any = None) -> None:
        members = list(models)
        for member in members:
            if not isinstance(member, Classifier):
                raise TypeError(f"models: wanted epsball models or gradient sources, got {type(member).__name__}")
        if not members:
            raise ValueError("models: wanted at least one, got none")
        self.mean = one_of("mean", mean, MEANS)
        self.weights = _weights(weights, len(members))
        self.models = tuple(members)
        super().__init__(classes=_same("classes", [m.classes for m in members if m.classes is not None]))
        if self.classes == 1 and mean != "logits":
            raise ValueError(f"mean: wanted 'logits' for models of a single logit, got {mean!r}")

    def __repr__(self) -> str:
        return f"Ensemble({list(self.models)!r}, mean={self.mean!r})"

    def logits(self, x: Floats) -> Floats:
        """Return the mean logits, the log of the mean probabilities, or the mean of their logs."""
        return self._mean(self._each(x))[0]

    def vjp(self, x: Floats) -> tuple[Floats, Pull]:
        """Return the logits of x, and the sum of the members' pullbacks."""
        each = self._each(x)
        logits, log_p = self._mean(each)

        def pull(dlogits: Floats) -> Floats:
            total = np.zeros_like(x)
            for m, (model, weight) in enumerate(zip(self.models, self.weights, strict=True)):
                d = dlogits * weight
                if self.mean == "probabilities":
                    d = np.exp(log_p[m] - logits) * d
                if self.mean != "logits":
                    d = d - np.exp(log_p[m]) * d.sum(axis=1, keepdims=True)
                total += pulled_back(model, x, each[m], d.astype(np.float32))
            return total

        return logits, pull

    def _each(self, x: Floats) -> list[Floats]:
        each = [as_numpy("logits", model(x)) for model in self.models]
        _same("classes", [z.shape[1] for z in each])
        return each

    def _mean(self, each: list[Floats]) -> tuple[Floats, list[Doubles]]:
        """Return the logits, and every member's log probabilities where these count."""
        z = [member.astype(np.float64) for member in each]
        log_p = [] if self.mean == "logits" else [_log_softmax(member) for member in z]
        if self.mean != "probabilities":
            terms = log_p or z
            return sum(w * term for w, term in zip(self.weights, terms, strict=True)).astype(np.float32), log_p
        weighed = np.stack([p + np.log(w) for w, p in zip(self.weights, log_p, strict=True) if w > 0])
        return np.logaddexp.reduce(weighed, axis=0).astype(np.float32), log_p


def _log_softmax(z: Doubles) -> Doubles:
    top = z - z.max(axis=1, keepdims=True)
    value: Doubles = top - np.log(np.exp(top).sum(axis=1, keepdims=True))
    return value


def _weights(given: Any, count: int) -> Doubles:
    weights = np.ones(count) if given is None else as_numpy("weights", given).astype(np.float64)
    if weights.shape != (count,) or not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise ValueError(f"weights: wanted {count} finite numbers >= 0, not all 0, got {weights.tolist()}")
    shares: Doubles = weights / weights.sum()
    return shares


def _same(name: str, values: list[int]) -> int | None:
    if len(set(values)) > 1:
        raise ValueError(f"models: wanted the same number of {name} in all of them, got {values}")
    return values[0] if values else None
