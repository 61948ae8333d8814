"""How strong the fixed-budget attacks are on digits: who must beat whom, on a plain and on a PGD-trained model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb

A = eb.attacks
ROWS = 200
EPS = {"linf": 0.1, "l2": 1.0, "l1": 6.0}


@pytest.fixture(scope="module", params=["plain", "robust"])
def model(request: pytest.FixtureRequest, digits: dict[str, np.ndarray]) -> Any:
    net = eb.models.mlp([784, 64, 10], seed=0)
    robust = eb.training.PGDTraining(eps=0.1, steps=5)
    method = robust if request.param == "robust" else eb.training.Standard()
    eb.fit(net, digits["x"], digits["y"], method=method, epochs=4, seed=0)
    return net


def broken(model: Any, attack: Any, digits: dict[str, np.ndarray]) -> np.ndarray:
    return attack.run(model, digits["xt"][:ROWS], digits["yt"][:ROWS]).success


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_autoattack_breaks_at_least_what_pgd_with_restarts_breaks(model: Any, digits: Any, norm: str) -> None:
    eps = EPS[norm] if broken(model, A.PGD(EPS[norm], norm, steps=10), digits).mean() < 0.95 else EPS[norm] / 3
    ours = broken(model, A.AutoAttack(eps, norm), digits)
    for loss in ("cross_entropy", "margin"):
        pgd = broken(model, A.PGD(eps, norm, steps=40, restarts=3, loss=loss), digits)
        assert ours.mean() >= pgd.mean() - 0.003
    assert 0.05 < ours.mean() < 1.0


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_apgd_breaks_at_least_what_pgd_breaks_in_as_many_steps(model: Any, digits: Any, norm: str) -> None:
    eps = EPS[norm] / 2
    for loss in ("cross_entropy", "dlr"):
        apgd = broken(model, A.APGD(eps, norm, steps=40, loss=loss), digits)
        pgd = broken(model, A.PGD(eps, norm, steps=40, loss=loss), digits)
        assert apgd.mean() >= pgd.mean() - 0.01


def test_gradients_beat_squares_and_squares_beat_noise(model: Any, digits: Any) -> None:
    eps = 0.05
    apgd = broken(model, A.APGD(eps, early_stop=True), digits).mean()
    square = broken(model, A.Square(eps, queries=1000), digits).mean()
    noise = broken(model, A.RandomSearch(eps, draws=1000), digits).mean()
    assert apgd >= square - 0.003
    assert square > noise
