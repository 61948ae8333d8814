"""The closed-form attack on linear models: no search, no oracle and no PGD does better."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import batch, labels, pair, sized
from oracle import NORMS, U

EPS = {"linf": 0.05, "l2": 0.2, "l1": 0.6}
BOXES = [None, (0.0, 1.0)]
# The margin of a float32 point, and the ball kept from inside by a few ulps per coordinate: relative to
# the sum of |w| |x| of at most 33 terms.
CLOSE = 64 * U * 33


def near_labels(net: oracle.Net, x: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(x)) % 4 == 0, labels(len(x), net.classes), net.predict(x))


@pytest.mark.parametrize("bounds", BOXES, ids=str)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("features", [1, 2, 7, 17, 33])
@pytest.mark.parametrize("classes", [1, 2, 10])
def test_attack_reaches_the_exact_worst_margin(
    table: str, classes: int, features: int, norm: str, bounds: oracle.Bounds
) -> None:
    model, net = pair([features, classes])
    x = batch(sized(25, on_emulator=9), features)
    y = near_labels(net, x)
    for eps in (0.0, EPS[norm], 20 * EPS[norm]):
        run = eb.attacks.LinearExact(eps=eps, norm=norm, bounds=bounds).run(model, x, y)
        wanted = oracle.worst_margin(net, x, y, eps, norm, bounds)
        reached = oracle.loss("margin", net(run.x_adv), y)
        scale = (1 + eps) * np.abs(net.weights[0]).max() + np.abs(net.biases[0]).max()
        np.testing.assert_allclose(reached, wanted, rtol=0, atol=CLOSE * scale)
        sure = np.abs(wanted) > 2 * CLOSE * scale
        assert sure.mean() > 0.5
        np.testing.assert_array_equal(np.asarray(run.success)[sure], wanted[sure] > 0)


@pytest.mark.parametrize("bounds", BOXES, ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_no_point_of_a_small_box_is_worse(table: str, norm: str, bounds: oracle.Bounds) -> None:
    """Brute force: every point of a fine grid over ball and box, corners included."""
    model, net = pair([3, 4], scale=2.0)
    x = np.random.default_rng(0).integers(0, 21, (12, 3)).astype(np.float32) / 20
    y = near_labels(net, x)
    eps = 0.25
    grid = np.array(list(itertools.product(np.linspace(-eps, eps, 31), repeat=3)))
    grid = grid[oracle.distance(grid, np.zeros_like(grid), norm) <= eps + 1e-12]
    x_adv = eb.linear_exact(model, x, y, eps=eps, norm=norm, bounds=bounds)
    reached = oracle.loss("margin", net(x_adv), y)
    for i in range(len(x)):
        points = x[i] + grid
        if bounds is not None:
            points = points[((points >= 0) & (points <= 1)).all(axis=1)]
        best = oracle.loss("margin", net(points), np.full(len(points), y[i])).max()
        assert reached[i] >= best - CLOSE * (1 + np.abs(net.weights[0]).max())


@pytest.mark.parametrize("bounds", BOXES, ids=str)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_pgd_never_beats_the_closed_form(table: str, classes: int, norm: str, bounds: oracle.Bounds) -> None:
    model, net = pair([17, classes])
    x = batch(sized(30, on_emulator=4), 17)
    y = near_labels(net, x)
    eps = EPS[norm]
    exact = oracle.loss("margin", net(eb.attacks.LinearExact(eps=eps, norm=norm, bounds=bounds)(model, x, y)), y)
    for loss in ("cross_entropy", "margin"):
        # An L2 path of length c eps leaves an angle of 2 atan(exp(-c)) at most: 9e-5 of the gain for the 5 eps of here.
        # An L1 path hovers half a step from a corner of the box.
        attack = eb.attacks.PGD(eps, norm, steps=100, step_size=eps / 20, restarts=2, bounds=bounds, loss=loss)
        found = oracle.loss("margin", net(attack(model, x, y)), y)
        assert (found <= exact + CLOSE * (1 + np.abs(net.weights[0]).max())).all()
        if classes <= 2:  # with two classes PGD finds the worst case as well
            correct = net.predict(x) == y
            np.testing.assert_allclose(found[correct], exact[correct], rtol=0, atol=2e-2 * eps)


def test_fgsm_on_a_logistic_model_is_the_exact_worst_case(table: str) -> None:
    """E softplus(eps ||w||_1 - y (w.x + b)): the sign of y is where the printed formula goes wrong."""
    model, net = pair([33, 1])
    x, y = batch(40, 33), labels(40, 1)
    x_adv = eb.fgsm(model, x, y, eps=0.25, bounds=None)
    signs = 2 * y - 1
    wanted = np.logaddexp(0, 0.25 * np.abs(net.weights[0]).sum() - signs * net(x)[:, 0])
    np.testing.assert_allclose(model.loss(x_adv, y), wanted, rtol=0, atol=CLOSE * 33)
    assert set(y) == {0, 1}


@pytest.mark.parametrize("bounds", BOXES, ids=str)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [1, 2, 10])
def test_exact_robust_accuracy_is_the_share_of_rows_no_point_fools(
    table: str, classes: int, norm: str, bounds: oracle.Bounds
) -> None:
    model, net = pair([17, classes])
    x = batch(80, 17)
    y = near_labels(net, x)
    eps = EPS[norm] / 2
    worst = oracle.worst_margin(net, x, y, eps, norm, bounds)
    sure = np.abs(worst) > 1e-4  # rows on the very edge are left out
    x, y, worst = x[sure], y[sure], worst[sure]
    assert sure.mean() > 0.9
    accuracy = eb.exact_robust_accuracy(model, x, y, eps=eps, norm=norm, bounds=bounds)
    assert accuracy == pytest.approx((worst < 0).mean(), abs=1e-12)
    assert 0 < accuracy < 1
    attack = eb.attacks.PGD(eps=eps, norm=norm, steps=10, bounds=bounds).run(model, x, y)
    assert accuracy <= 1 - attack.success.mean() + 1e-12


def test_models_with_hidden_layers_are_refused() -> None:
    model, _ = pair([5, 4, 3])
    x, y = batch(3, 5), labels(3, 3)
    with pytest.raises(ValueError, match="model"):
        eb.attacks.LinearExact(eps=0.1)(model, x, y)
    with pytest.raises(ValueError, match="model"):
        eb.exact_robust_accuracy(model, x, y, eps=0.1, norm="linf", bounds=None)


@pytest.mark.parametrize(
    "layers",
    [[eb.Linear(4, 3), eb.BatchNorm1d(3)], [eb.Normalize(0.5, 0.25), eb.Linear(4, 3)], [eb.Linear(4, 3), eb.ReLU()]],
    ids=["batch norm above", "normalisation below", "activation"],
)
def test_what_a_linear_layer_does_not_compute_alone_is_refused(layers: list[Any]) -> None:
    """Even what inference folds into it: the closed form reads the layer's own weights."""
    model = eb.Sequential(layers, input_shape=(4,))
    with pytest.raises(ValueError, match="model: the closed form needs a linear model"):
        eb.exact_robust_accuracy(model, batch(3, 4), labels(3, 3), eps=0.1)


def test_dropout_and_flatten_leave_a_linear_model_linear() -> None:
    plain = eb.models.linear(4, 3)
    model = eb.Sequential([eb.Flatten(), eb.Dropout(0.5), eb.Linear(4, 3)], input_shape=(1, 2, 2))
    model.load_parameters(dict(zip(model.parameters(), plain.parameters().values(), strict=True)))
    x, y = batch(30, 4), labels(30, 3)
    np.testing.assert_array_equal(eb.linear_exact(model, x, y, eps=0.1), eb.linear_exact(plain, x, y, eps=0.1))
