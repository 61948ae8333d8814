"""Adversarial copies for nearest neighbours: right on the copies, hardly more robust elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from epsball.sources import KNN, SoftenedKNN
from epsball.training import adversarial_copies

ATTACK = eb.attacks.PGD(0.1, steps=10)


def test_copies_are_learned_by_heart(digits: dict[str, np.ndarray]) -> None:
    """On its own copies the vote is right; on those of test rows it errs as often as without."""
    x, y = digits["x"][:600], digits["y"][:600]
    xt, yt = digits["xt"][:150], digits["yt"][:150]
    points, labels = adversarial_copies(x, y, ATTACK)
    assert points.shape == (1200, *x.shape[1:])
    np.testing.assert_array_equal(points[:600], x)
    assert np.abs(points[600:] - x).max() <= 0.1
    errors = {}
    for name, (p, q) in {"plain": (x, y), "trained": (points, labels)}.items():
        model = KNN(p, q, k=1)
        x_adv = ATTACK(SoftenedKNN(p, q), xt, yt)
        errors[name] = (float((model.predict(points[600:]) != y).mean()), float((model.predict(x_adv) != yt).mean()))
    assert errors["trained"][0] == 0
    assert errors["trained"][1] > 0.3
    assert errors["trained"][1] > errors["plain"][1] - 0.05


def test_bad_arguments_are_named(digits: dict[str, np.ndarray]) -> None:
    x, y = digits["x"][:50], digits["y"][:50]
    with pytest.raises(TypeError, match=r"^attack: "):
        adversarial_copies(x, y, "pgd")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^attack: "):
        adversarial_copies(x, y, eb.attacks.PGD(0.1, targeted=True))
    with pytest.raises(ValueError, match=r"^labels: "):
        adversarial_copies(x, y[:5], ATTACK)
