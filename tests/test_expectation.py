"""Expectation: what each transformation does, the mean's gradient, and points that survive transformations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels, pair
from epsball.sources import Affine, Blur, Expectation, Gamma, GaussianNoise, Quantise

HEIGHT, WIDTH, CLASSES, ROWS = 5, 6, 3, 8
X = batch(ROWS, HEIGHT * WIDTH).reshape(ROWS, 1, HEIGHT, WIDTH) * np.float32(0.8) + np.float32(0.1)
TRANSFORMS: dict[str, Any] = {
    "affine": Affine(30, 1),
    "blur": Blur(1.0),
    "gamma": Gamma(),
    "noise": GaussianNoise(0.05),
}


def model() -> Any:
    return pair([HEIGHT * WIDTH, 10, CLASSES], "tanh", scale=2.0)[0]


def change(transform: Any, seed: int = 0) -> Any:
    return transform.draw(np.random.default_rng(seed), (1, HEIGHT, WIDTH))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_pullbacks_are_the_derivatives(name: str) -> None:
    """v . J u by central differences is u . pull(v)."""
    step = change(TRANSFORMS[name])
    rng = np.random.default_rng(1)
    u, v = (rng.normal(size=X.shape).astype(np.float32) for _ in range(2))
    h = np.float32(1e-2)
    slope = (v * ((step(X + h * u)[0] - step(X - h * u)[0]) / (2 * h))).sum(axis=(1, 2, 3))
    inner = X.min() - float(h) * np.abs(u).max() > 1e-3
    assert inner or name != "gamma"
    np.testing.assert_allclose((u * step(X)[1](v)).sum(axis=(1, 2, 3)), slope, rtol=5e-3, atol=5e-3)


def test_what_transformations_do() -> None:
    blurred = change(Blur(1.0))(X)[0]
    assert blurred.std() < X.std()
    flat = np.full_like(X, 0.3)
    np.testing.assert_allclose(change(Blur(2.0))(flat)[0], 0.3, rtol=1e-5)
    np.testing.assert_array_equal(change(Gamma(1, 1))(X)[0], X)
    few = change(Quantise(4))(X)[0]
    assert len(np.unique(few.round(5))) <= 5
    assert np.abs(few - X).max() <= 0.5 / 3 + 1e-6
    noise = change(GaussianNoise(0.1))(X)[0] - X
    np.testing.assert_allclose(noise[0], noise[1], atol=1e-6)
    assert 0.05 < noise[0].std() < 0.2
    np.testing.assert_array_equal(change(Affine(0, 0))(X)[0], X)


def test_logits_are_the_mean_over_the_draws() -> None:
    own = model()
    source = Expectation(own, list(TRANSFORMS.values()), draws=5, seed=3)
    each = []
    for i in range(5):
        rng, y = np.random.default_rng([3, i]), X
        for transform in TRANSFORMS.values():
            y = transform.draw(rng, X.shape[1:])(y)[0]
        each.append(own(np.clip(y, 0, 1)))
    np.testing.assert_allclose(source(X), np.mean(each, axis=0), rtol=1e-4, atol=1e-5)


def test_the_gradient_is_the_slope_of_the_mean() -> None:
    source = Expectation(model(), [Affine(20, 1), Blur(0.8), GaussianNoise(0.02)], draws=4, bounds=None)
    y = labels(ROWS, CLASSES)
    gradient, h = source.input_gradient(X, y), 5e-3
    for at in ((0, 0), (2, 3), (4, 5)):
        step = np.zeros(X.shape[1:], np.float32)
        step[0][at] = h
        slope = (source.loss(X + step, y).astype(float) - source.loss(X - step, y)) / (2 * h)
        np.testing.assert_allclose(gradient[:, 0][:, at[0], at[1]], slope, atol=1e-2)


def test_a_row_depends_on_itself_alone() -> None:
    source = Expectation(model(), list(TRANSFORMS.values()), draws=3)
    whole = eb.pgd(source, X, labels(ROWS, CLASSES), eps=0.1, steps=3)
    part = eb.pgd(source, X[5:], labels(ROWS, CLASSES)[5:], eps=0.1, steps=3, index=np.arange(5, ROWS))
    np.testing.assert_allclose(part, whole[5:], atol=1e-5)


def test_points_made_for_the_mean_survive_transformations_that_undo_others(digits: dict[str, np.ndarray]) -> None:
    """Athalye et al. 2018: judged on draws that the attack has not seen."""
    net = eb.models.mlp([784, 64, 10], seed=0)
    eb.fit(net, digits["x"], digits["y"], epochs=3, seed=0)
    x, y = digits["xt"][:40].reshape(-1, 1, 28, 28), digits["yt"][:40]
    transforms = [Affine(15, 2), Blur(1.0), GaussianNoise(0.1)]
    unseen = [Expectation(net, transforms, draws=1, seed=100 + i) for i in range(8)]
    attack = eb.attacks.PGD(eps=0.05, steps=10)

    def error(points: Any) -> float:
        return float(np.mean([m.predict(points) != y for m in unseen]))

    assert error(attack(Expectation(net, transforms), x, y)) > error(attack(net, x, y)) > error(x)


def test_bad_arguments_are_named() -> None:
    for make, name in (
        (lambda: Affine(-1), "degrees"), (lambda: Affine(1, -1), "pixels"), (lambda: Blur(-1.0), "sigma"),
        (lambda: Gamma(2, 1), "lo: wanted at most hi"), (lambda: GaussianNoise(-1), "sigma"),
        (lambda: Quantise(1), "levels"), (lambda: Expectation(model(), []), "transforms"),
        (lambda: Expectation(model(), [Blur()], draws=0), "draws"),
        (lambda: Expectation(model(), [Blur()], bounds=3), "bounds"),  # type: ignore[arg-type]
        (lambda: Expectation(model(), [Blur()])(X.reshape(ROWS, -1)), "x: wanted images"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            make()
    with pytest.raises(TypeError, match="transforms: wanted Transform objects, got str"):
        Expectation(model(), ["blur"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="model: wanted an epsball model"):
        Expectation(eb.LabelOracle(lambda x: x), [Blur()])  # type: ignore[arg-type]
