"""Element-wise activations: values, slopes and behaviour far from zero, on every table."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from cases import LAYERS, SIZES, assert_within, batch, check_loss, labels, pair
from oracle import ACTIVATIONS, CURVATURE, ELEMENTARY, KINKED, Net, activate, slope


def elementwise(activation: str, features: int) -> eb.Sequential:
    """A model whose logits are the activation of its inputs: identity, activation, identity."""
    eye = np.eye(features)
    net = Net([eye, eye], [np.zeros(features)] * 2, activation)
    layer = getattr(eb, LAYERS[activation])()
    model = eb.Sequential(
        [eb.Linear(features, features), layer, eb.Linear(features, features)],
        input_shape=(features,),
    )
    model.load_parameters(dict(zip(model.parameters(), net.parameters(), strict=True)))
    return model


VALUES = np.concatenate([np.linspace(-6, 6, 49), [-100.0, -30.0, -1e-3, -1e-6, 1e-6, 1e-3, 30.0, 100.0]])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_agree_near_and_far_from_zero(table: str, activation: str) -> None:
    x = VALUES.astype(np.float32)[None]
    wanted = activate(activation, x.astype(np.float64))
    bound = ELEMENTARY * np.maximum(1.0, np.abs(wanted))
    assert_within(elementwise(activation, x.size)(x), wanted, bound, activation)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_slopes_agree_near_and_far_from_zero(table: str, activation: str) -> None:
    x = VALUES.astype(np.float32)[None]
    if activation in KINKED:
        x = x[:, x[0] != 0]
    wanted = slope(activation, x.astype(np.float64))
    bound = ELEMENTARY * np.maximum(1.0, np.abs(wanted))
    diagonal = np.diagonal(elementwise(activation, x.size).jacobian(x)[0])[None]
    assert_within(diagonal, wanted, bound, activation)


@pytest.mark.parametrize("activation", KINKED)
def test_slope_at_the_kink_is_the_left_one(table: str, activation: str) -> None:
    jacobian = elementwise(activation, 3).jacobian(np.zeros((1, 3), np.float32))[0]
    np.testing.assert_allclose(np.diagonal(jacobian), 0.0 if activation == "relu" else 0.01, rtol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("width", SIZES)
def test_gradients_agree_for_odd_widths(table: str, activation: str, width: int) -> None:
    model, net = pair([5, width, 3], activation)
    x = batch(13, 5)
    check_loss(model, net, x, labels(13, 3), "cross_entropy")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_agree_through_several_layers(table: str, activation: str) -> None:
    model, net = pair([17, 15, 9, 4], activation)
    x = batch(40, 17)
    check_loss(model, net, x, labels(40, 4), "margin")


def test_slope_and_scale_of_leaky_relu_and_elu_can_be_set(table: str) -> None:
    x = np.array([[-2.0, -0.5, 0.5]], np.float32)
    for layer, wanted in (
        (eb.LeakyReLU(slope=0.25), [-0.5, -0.125, 0.5]),
        (eb.ELU(alpha=2.0), [2 * np.expm1(-2.0), 2 * np.expm1(-0.5), 0.5]),
    ):
        model = eb.Sequential([eb.Linear(3, 3), layer, eb.Linear(3, 3)], input_shape=(3,))
        eye = np.eye(3, dtype=np.float32)
        zero = np.zeros(3, np.float32)
        model.load_parameters({"0.weight": eye, "0.bias": zero, "2.weight": eye, "2.bias": zero})
        np.testing.assert_allclose(model(x)[0], wanted, atol=ELEMENTARY)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus"])
def test_mlp_takes_the_activation_by_name(activation: str) -> None:
    model = eb.models.mlp([4, 5, 3], activation=activation)
    net = Net(
        [p.astype(np.float64) for n, p in model.parameters().items() if n.endswith("weight")],
        [p.astype(np.float64) for n, p in model.parameters().items() if n.endswith("bias")],
        activation,
    )
    x = batch(6, 4)
    run = net.forward(x)
    assert_within(model(x), run.logits, run.logit_errors, "logits")


def test_every_activation_of_the_oracle_is_a_layer() -> None:
    assert set(ACTIVATIONS) == set(LAYERS) == set(CURVATURE)
    for name in LAYERS.values():
        assert getattr(eb, name)() == getattr(eb, name)()
