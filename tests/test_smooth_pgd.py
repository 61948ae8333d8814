"""PGD against a smoothed classifier: its loop, and what it is good for."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
import oracle
import oracle_random
from cases import batch, pair, sized

STEPS, SAMPLES, SIGMA = 5, 4, 0.2


def by_hand(
    net: oracle.Net, x0: np.ndarray, y: np.ndarray, noise: str, norm: str, eps: float, size: float
) -> np.ndarray:
    x = x0.copy()
    for step in range(STEPS):
        p, slopes = [], []
        for i in range(SAMPLES):
            salt = oracle_random.noise_salt(step * SAMPLES + i)
            if noise == "normal":
                n = oracle_random.normals(len(x), x.shape[1], 3, salt)
            else:
                n = 2 * oracle_random.uniforms(len(x), x.shape[1], 3, salt) - 1
            at = x + SIGMA * n
            p.append(np.exp(-oracle.loss("cross_entropy", net(at), y)))
            slopes.append(p[-1][:, None] * net.gradient(at, y, "cross_entropy").inputs)
        g = np.sum(slopes, axis=0) / np.sum(p, axis=0)[:, None]  # of -log of the mean probability
        if norm == "linf":
            x = np.clip(np.clip(x + size * np.sign(g), x0 - eps, x0 + eps), 0, 1)
            continue
        g = np.where((x0 >= 0) & (x0 <= 1), g, 0)
        d = x + size * g / np.linalg.norm(g, axis=1, keepdims=True) - x0
        x = x0 + d * np.minimum(1, eps / np.linalg.norm(d, axis=1, keepdims=True))
    return x


@pytest.mark.parametrize("noise", ["normal", "uniform"])
@pytest.mark.parametrize(("norm", "eps", "size"), [("linf", 0.06, 0.02), ("l2", 0.15, 0.05)])
def test_it_is_the_authors_loop(table: str, noise: str, norm: str, eps: float, size: float) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=1.5)
    x = batch(60, 9, low=0.3, high=0.7)  # the box, which theirs treats otherwise, is far
    y = net.predict(x)
    attack = eb.attacks.SmoothPGD(eps, norm, STEPS, size, sigma=SIGMA, samples=SAMPLES, noise=noise, seed=3)
    run = attack.run(model, x, y)
    wanted = by_hand(net, x.astype(np.float64), y, noise, norm, eps, size)
    near = (np.abs(np.asarray(run.x_adv) - wanted) < 1e-4).all(axis=1)
    assert near.mean() >= 0.9  # a sign that float32 decides otherwise takes a row elsewhere
    assert (run.queries == STEPS * SAMPLES + 1).all()


def test_the_label_s_mean_probability_falls_further_than_with_pgd(table: str) -> None:
    model, net = pair([33, 31, 4], "relu", scale=3.0)
    x = batch(sized(100, on_emulator=20), 33)
    y = net.predict(x)
    noise = 0.5 * np.random.default_rng(0).standard_normal((300, 1, 33))

    def mean_probability(points: np.ndarray) -> float:
        rows = np.concatenate(points + noise)
        return float(np.exp(-oracle.loss("cross_entropy", net(rows), np.tile(y, 300))).mean())

    options = {"eps": 0.5, "norm": "l2", "steps": 20, "bounds": None}
    plain = eb.attacks.PGD(**options, random_start=False)(model, x, y)
    ours = eb.attacks.SmoothPGD(**options, sigma=0.5, samples=32)(model, x, y)
    assert mean_probability(ours) < 0.99 * mean_probability(plain) < 0.9 * mean_probability(x)


def test_rows_that_it_is_sure_of_move_too(table: str) -> None:
    model, net = pair([9, 4])
    x = batch(20, 9, low=0.3, high=0.7)
    y = net.predict(x)
    w, b = model.parameters().values()
    model.load_parameters(dict(zip(model.parameters(), (400 * w, 400 * b), strict=True)))
    run = eb.attacks.SmoothPGD(0.1, sigma=0.01, steps=3).run(model, x, y)
    assert not run.zero_gradient.any()
    assert (run.distance > 0.05).all()


@pytest.mark.parametrize(("name", "value"), [("sigma", 0.0), ("samples", 0), ("noise", "guassian"), ("steps", -1)])
def test_bad_options_are_named(name: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{name}:"):
        eb.attacks.SmoothPGD(0.1, **{name: value})
