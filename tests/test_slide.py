"""SLIDE: a step goes to a few features, in equal parts."""

from __future__ import annotations

import numpy as np

import epsball as eb
from cases import batch, engine, pair, sized
from oracle import Net


def test_a_step_is_shared_by_the_steepest_features_that_have_room(table: str) -> None:
    w = np.array([5.0, -4.0, 3.0, 2.0, -1.0, 0.5, 4.5, -0.1, 0.2, 0.3])
    model = engine(Net([np.stack([np.zeros(10), w])], [np.zeros(2)]))
    x = np.full((1, 10), 0.5, np.float32)
    x[0, 0] = 1.0  # no room up
    options = {"eps": 1.0, "step_size": 0.3, "random_start": False, "loss": "margin"}
    y = np.zeros(1, np.int64)
    d = eb.attacks.SLIDE(**options, steps=1, fraction=0.3)(model, x, y) - x
    np.testing.assert_allclose(d[0], [0, -0.1, 0.1, 0, 0, 0, 0.1, 0, 0, 0], atol=1e-6)
    d = eb.attacks.SLIDE(**options, steps=1, fraction=1.0)(model, x, y) - x
    np.testing.assert_allclose(d[0], np.sign(w) * (np.arange(10) > 0) * 0.3 / 9, atol=1e-6)


def test_it_breaks_about_as_many_rows_as_pgd(table: str) -> None:
    model, net = pair([100, 32, 10], "relu", scale=2.0)
    x = batch(sized(100, on_emulator=20), 100)
    y = net.predict(x)
    ours = eb.attacks.SLIDE(eps=1.0, steps=40, fraction=0.05).run(model, x, y).success.mean()
    pgd = eb.attacks.PGD(eps=1.0, norm="l1", steps=40).run(model, x, y).success.mean()
    assert 0.1 < pgd < 0.95
    assert ours >= pgd - 0.1
