"""Cross-entropy: loss and gradients with hard labels, probabilities and one logit, at every margin."""

from __future__ import annotations

import math

import numpy as np
import pytest

import epsball as eb
from cases import (
    SIZES,
    assert_within,
    batch,
    check_central_differences,
    check_loss,
    labels,
    pair,
    soft_labels,
)
from oracle import U

SHAPES = ([9, 1], [9, 2], [9, 10], [17, 5, 1], [17, 33, 10], [3, 7, 5, 2])


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_loss_and_gradients_agree_with_hard_labels(table: str, sizes: list[int], rows: int) -> None:
    model, net = pair(sizes, "tanh")
    check_loss(model, net, batch(rows, sizes[0]), labels(rows, sizes[-1]), "cross_entropy")


@pytest.mark.parametrize("features", SIZES)
def test_parameter_gradients_agree_for_odd_sizes(table: str, features: int) -> None:
    for rows in (1, 17, 65):
        model, net = pair([features, 10])
        check_loss(model, net, batch(rows, features), labels(rows, 10), "cross_entropy")


@pytest.mark.parametrize("sizes", [[9, 2], [9, 10], [17, 33, 10]], ids=str)
def test_loss_and_gradients_agree_with_probabilities(table: str, sizes: list[int]) -> None:
    model, net = pair(sizes, "tanh")
    x, t = batch(20, sizes[0]), soft_labels(20, sizes[-1])
    check_loss(model, net, x, t, "cross_entropy")


def test_one_hot_probabilities_give_the_loss_of_hard_labels(table: str) -> None:
    model, _ = pair([9, 10])
    x, y = batch(20, 9), labels(20, 10)
    hot = np.eye(10, dtype=np.float32)[y]
    np.testing.assert_allclose(model.loss(x, hot), model.loss(x, y), atol=64 * U)


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus", "gelu"])
@pytest.mark.parametrize("classes", [1, 3])
def test_gradient_is_the_slope_of_the_loss(table: str, activation: str, classes: int) -> None:
    model, net = pair([5, 7, classes], activation)
    x, y = batch(12, 5), labels(12, classes)
    check_central_differences(model, net, x, y, "cross_entropy")


def confident(margin: float, classes: int) -> eb.Sequential:
    """A linear model of two features whose logits at (1, 0) are exactly (margin, 0, ..., 0)."""
    model = eb.models.linear(2, classes)
    w = np.zeros((classes, 2), np.float32)
    w[0] = margin, 1.0
    model.load_parameters({"0.weight": w, "0.bias": np.zeros(classes, np.float32)})
    return model


# float32 exp of an exact argument: a few units in the last place; 16 covers sums and products too.
EXP_RTOL = 64 * U


@pytest.mark.parametrize("margin", [20.0, 50.0, 80.0])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_true_class_derivative_survives_a_large_margin(table: str, margin: float, classes: int) -> None:
    model = confident(margin, classes)
    x, y = np.array([[1.0, 0.0]], np.float32), np.array([0])
    others = (classes - 1) * math.exp(-margin)
    derivative = -others / (1 + others)
    gradient = np.asarray(model.input_gradient(x, y), np.float64)[0]
    np.testing.assert_allclose(gradient, [margin * derivative, derivative], rtol=EXP_RTOL)
    bias = model.parameter_gradients(x, y)["0.bias"]
    assert bias[0] == pytest.approx(derivative, rel=EXP_RTOL)


@pytest.mark.parametrize("margin", [20.0, 50.0, 80.0])
def test_one_logit_derivative_survives_a_large_margin(table: str, margin: float) -> None:
    model = confident(margin, 1)
    x = np.array([[1.0, 0.0]], np.float32)
    gradient = model.input_gradient(x, np.array([1]))[0, 1]
    assert gradient == pytest.approx(-math.exp(-margin) / (1 + math.exp(-margin)), rel=EXP_RTOL)


@pytest.mark.parametrize("margin", [20.0, 50.0, 80.0])
def test_small_loss_keeps_its_digits(table: str, margin: float) -> None:
    model = confident(margin, 3)
    small = model.loss(np.array([[1.0, 0.0]], np.float32), np.array([0]))[0]
    assert small == pytest.approx(math.log1p(2 * math.exp(-margin)), rel=EXP_RTOL)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("margin", [20.0, 50.0, 80.0])
def test_attack_moves_the_full_distance_at_a_large_margin(table: str, norm: str, margin: float) -> None:
    model = confident(margin, 3)
    x = np.array([[1.0, 0.5]], np.float32)
    run = eb.attacks.FGSM(eps=0.25, norm=norm, bounds=None).run(model, x, np.array([0]))
    assert not run.zero_gradient[0]
    assert run.distance[0] == pytest.approx(0.25, rel=1e-5)  # the hard bound may cost a few ulps
    assert run.x_adv[0, 0] < 1.0


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_huge_logits_give_finite_loss_and_gradient(table: str, classes: int) -> None:
    model = confident(1e4, classes)
    x = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    for y in (np.array([0, 0]), np.array([1, 1])):
        assert np.isfinite(model.loss(x, y)).all()
        assert np.isfinite(model.input_gradient(x, y)).all()
        assert np.isfinite(model.probabilities(x)).all()
    wrong = model.loss(x[1:], np.array([1 if classes == 1 else 0]))
    assert wrong[0] == pytest.approx(1e4 + math.log(max(classes - 1, 1)), rel=1e-6)


def test_gradient_rows_do_not_mix(table: str) -> None:
    model, net = pair([9, 10])
    x, y = batch(20, 9), labels(20, 10)
    gradient = model.input_gradient(x, y)
    back = net.gradient(x[7:8], y[7:8])
    assert_within(gradient[7:8], back.inputs, back.input_errors, "row 7")
