"""Random points: where each kind of them lies, and that the best one counts."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import batch, constant_model, pair

EPS = {"linf": 0.2, "l2": 0.6, "l1": 2.0}


def drawn(noise: str, norm: str, x: np.ndarray, bounds: object = None, seed: int = 0) -> np.ndarray:
    attack = eb.attacks.RandomSearch(eps=EPS[norm], norm=norm, noise=noise, draws=1, bounds=bounds, seed=seed)
    return np.asarray(attack(constant_model(x.shape[1], 3), x, np.zeros(len(x), np.int64)), np.float64)


def test_gaussian_noise_has_the_deviation_it_says(table: str) -> None:
    x = batch(200, 400)
    d = drawn("gaussian", "l2", x) - x
    length = np.linalg.norm(d, axis=1)
    assert (length <= 0.6).all()
    assert 0.3 < (length > 0.599).mean() < 0.8  # half of them are longer than eps and projected
    assert abs(d.mean()) < 5 * 0.6 / 20 / np.sqrt(d.size)
    inner = drawn("gaussian", "linf", x) - x
    assert abs((np.abs(inner) < 0.1999).mean() - 0.6827) < 0.01  # within one deviation


def test_salt_and_pepper_leaps_to_the_ends_for_a_random_part(table: str) -> None:
    x = batch(300, 200, low=0.05, high=0.95)
    y = drawn("salt_and_pepper", "linf", x, bounds=(0.0, 1.0))
    up, down = np.minimum(x + 0.2, 1), np.maximum(x - 0.2, 0)
    changed = y != x
    np.testing.assert_allclose(np.where(y > x, up, down)[changed], y[changed], atol=1e-6)
    part = changed.mean(axis=1)
    assert part.min() < 0.1
    assert part.max() > 0.9
    assert abs(part.mean() - 0.5) < 0.07
    assert abs((y > x)[changed].mean() - 0.5) < 0.02


def test_corners_are_corners(table: str) -> None:
    x = batch(50, 40)
    d = drawn("corners", "linf", x) - x
    np.testing.assert_allclose(np.abs(d), 0.2, rtol=1e-5)
    assert abs((d > 0).mean() - 0.5) < 0.05


@pytest.mark.parametrize("noise", ["uniform", "gaussian", "salt_and_pepper", "corners"])
@pytest.mark.parametrize("norm", oracle.NORMS)
def test_more_draws_find_more(table: str, noise: str, norm: str) -> None:
    model, net = pair([17, 9, 4], "tanh", scale=3.0)
    x = batch(100, 17)
    y = net.predict(x)
    runs = [eb.attacks.RandomSearch(eps=EPS[norm], norm=norm, noise=noise, draws=n).run(model, x, y) for n in (1, 30)]
    assert runs[1].success.sum() > runs[0].success.sum()
    assert (runs[1].success | ~runs[0].success).all()
    assert (runs[1].queries[~runs[1].success] == 30).all()
    pgd = eb.attacks.PGD(eps=EPS[norm], norm=norm, steps=40).run(model, x, y)
    assert pgd.success.mean() >= runs[1].success.mean()


def test_it_asks_for_no_gradient() -> None:
    model, net = pair([17, 9, 4], "tanh", scale=3.0)
    x = batch(20, 17)
    only = eb.CallableModel(model, classes=4)
    run = eb.attacks.RandomSearch(eps=0.2, draws=10).run(only, x, net.predict(x))
    np.testing.assert_array_equal(run.success, np.asarray(model.predict(run.x_adv)) != net.predict(x))


def test_unknown_noise_is_named() -> None:
    with pytest.raises(ValueError, match=r"^noise: wanted one of uniform, gaussian"):
        eb.attacks.RandomSearch(eps=0.1, noise="pink")
