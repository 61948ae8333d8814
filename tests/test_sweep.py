"""Several budgets in one call: each as if alone, and success that never falls."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import epsball as eb
from cases import batch, pair


def test_each_budget_is_what_it_is_alone_and_success_never_falls(table: str) -> None:
    model, net = pair([33, 31, 10], "relu", scale=3.0)
    x = batch(80, 33)
    y = net.predict(x)
    eps = [0.3, 0.02, 0.1, 0.0, 0.05]
    attack = eb.attacks.FGSM(eps=0.1)
    swept = attack.sweep(model, x, y, eps=eps)
    alone = [eb.attacks.FGSM(eps=e).run(model, x, y) for e in eps]
    for e, ours, one in zip(eps, swept, alone, strict=True):
        same = ours.success == one.success
        assert (ours.success | ~one.success).all()
        np.testing.assert_array_equal(ours.x_adv[same], one.x_adv[same])
        np.testing.assert_array_equal(ours.success, np.asarray(model.predict(ours.x_adv)) != y)
        assert (np.abs(ours.x_adv.astype(np.float64) - x).max(axis=1) <= e).all()
        np.testing.assert_allclose(ours.distance, np.abs(ours.x_adv.astype(np.float64) - x).max(axis=1))
    by_size = [swept[i].success for i in np.argsort(eps)]
    assert all((b | ~a).all() for a, b in pairwise(by_size))


def test_a_row_that_only_a_smaller_ball_breaks_stays_broken(table: str) -> None:
    """One step of 0.2 reaches the other class, which lies in the middle; one of 0.6 leaps over it."""
    model = eb.Sequential([eb.Linear(1, 1), eb.Quadratic(), eb.Linear(1, 1)], input_shape=(1,))
    weights = {"0.weight": [[2.0]], "0.bias": [-1.0], "2.weight": [[1.0]], "2.bias": [-0.1]}  # 4 (x - 0.5)^2 - 0.1
    model.load_parameters({name: np.array(value) for name, value in weights.items()})
    x, y = np.array([[0.7]], np.float32), np.array([1])
    attack = eb.attacks.FGSM(eps=0.1)
    assert not eb.attacks.FGSM(eps=0.6).run(model, x, y).success[0]
    large, small = attack.sweep(model, x, y, eps=[0.6, 0.2])
    assert small.success[0]
    assert large.success[0]
    np.testing.assert_array_equal(large.x_adv, small.x_adv)
    assert large.distance[0] == small.distance[0]


def test_bad_budgets_are_named() -> None:
    model, net = pair([9, 4])
    x = batch(5, 9)
    with pytest.raises(ValueError, match=r"^eps:"):
        eb.attacks.PGD(eps=0.1).sweep(model, x, net.predict(x), eps=[0.1, -1.0])
    with pytest.raises(TypeError, match=r"^eps:"):
        eb.attacks.PGD(eps=0.1).sweep(model, x, net.predict(x), eps=["much"])
    with pytest.raises(TypeError, match=r"^eps:"):
        eb.attacks.PGD(eps=0.1).sweep(model, x, net.predict(x), eps=0.1)
    with pytest.raises(ValueError, match=r"^eps: wanted at least one"):
        eb.attacks.PGD(eps=0.1).sweep(model, x, net.predict(x), eps=[])
