"""NewtonFool: the paper's step, which is not lost where the label's probability is all but 1."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from cases import batch, pair

FEATURES, CLASSES, ROWS = 13, 4, 20


def probabilities(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    z = x @ weight.T + bias
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def published(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, y: np.ndarray, eta: float) -> np.ndarray:
    """One step of the paper in float64, clipped to [0, 1]."""
    p = probabilities(weight, bias, x)
    own = p[np.arange(len(x)), y]
    gradient = own[:, None] * (weight[y] - p @ weight)
    length = np.linalg.norm(gradient, axis=1)
    step = np.minimum(eta * np.linalg.norm(x, axis=1) * length, own - 1 / weight.shape[0])
    return np.clip(x - (step / length**2)[:, None] * gradient, 0, 1)


@pytest.mark.parametrize("eta", [0.003, 0.02, 10.0])
def test_a_step_is_the_papers(table: str, eta: float) -> None:
    model = pair([FEATURES, CLASSES], scale=2.0)[0]
    x = batch(ROWS, FEATURES)
    y = model.predict(x)
    weight, bias = (p.astype(np.float64) for p in model.parameters().values())
    wanted = published(weight, bias, x.astype(np.float64), y, eta)
    run = eb.attacks.NewtonFool(steps=1, eta=eta).run(model, x, y)
    crossed = probabilities(weight, bias, wanted).argmax(axis=1) != y
    np.testing.assert_array_equal(run.success, crossed)
    np.testing.assert_allclose(run.x_adv[crossed], wanted[crossed], atol=2e-6)
    assert crossed.any() or eta < 0.01


def test_a_confident_row_moves_all_the_same(table: str) -> None:
    weight = np.zeros((3, FEATURES), np.float32)
    weight[0], weight[1, ::2] = 40.0, 3.0
    model = eb.models.linear(FEATURES, 3)
    model.load_parameters({"0.weight": weight, "0.bias": np.zeros(3, np.float32)})
    x = np.full((1, FEATURES), 0.9, np.float32)
    assert 1 - model.probabilities(x)[0, 0] < 1e-20
    run = eb.attacks.NewtonFool(steps=500, eta=0.02, bounds=(-1.0, 1.0)).run(model, x, np.array([0]))
    assert run.success.all()
    assert not run.zero_gradient.any()


def test_a_row_ends_at_its_first_success_and_pays_no_more() -> None:
    model = pair([FEATURES, 9, CLASSES], "relu", scale=3.0)[0]
    x = batch(ROWS, FEATURES)
    runs = [eb.attacks.NewtonFool(steps=n, eta=0.05).run(model, x) for n in (20, 400)]
    early = runs[0].success
    assert early.any()
    np.testing.assert_array_equal(runs[1].x_adv[early], runs[0].x_adv[early])
    np.testing.assert_array_equal(runs[1].queries[early], runs[0].queries[early])


def test_bad_options_are_named() -> None:
    for options in ({"steps": 0}, {"eta": -1.0}, {"eta": float("nan")}, {"norm": "linf"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            eb.attacks.NewtonFool(**options)
    with pytest.raises(TypeError, match="eta"):
        eb.attacks.NewtonFool(eta="far")
