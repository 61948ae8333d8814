"""Adversarial training of nearest neighbours, which have nothing to train: copies of their examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from epsball.arrays import Array, as_numpy
from epsball.attacks.base import Attack
from epsball.sources.knn import SoftenedKNN


def adversarial_copies(points: Any, labels: Any, attack: Attack, temperature: float = 1.0) -> tuple[Array, Array]:
    """Return examples with an adversarial copy of each behind them, for `sources.KNN`.

    Copies are made on the smooth stand-in, `sources.SoftenedKNN`. Nearest neighbours that have them are right on every
    copy, and hardly more robust elsewhere: they learn them by heart (Goodfellow's lectures).

    Parameters
    ----------
    points, labels
        (M, ...) examples and their class indices (M,), at least one of every class.
    attack
        Untargeted.
    temperature
        Of the stand-in, in squared distance.

    Returns
    -------
    (ndarray, ndarray)
        (2 M, ...) examples, in the points' dtype, and their labels (2 M,).

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """
    if not isinstance(attack, Attack) or getattr(attack, "targeted", False):
        raise TypeError(f"attack: wanted an untargeted attack such as epsball.attacks.PGD, got {attack!r}")
    p, y = as_numpy("points", points), as_numpy("labels", labels)
    copies = attack(SoftenedKNN(p, y, temperature), p, y)
    return np.concatenate([p, copies]), np.concatenate([y, y])
