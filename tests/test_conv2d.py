"""Convolutions agree with the float64 oracle: every geometry, width and batch, whatever stands around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import (
    LAYERS,
    LOSSES,
    assert_same_in_any_batch,
    assert_within,
    batch,
    check_central_differences,
    check_image_model,
    check_loss,
    image_model,
    labels,
)

Conv = eb.Conv2d
CHANNELS = (1, 3, 5, 17, 33, 64, 65)
BATCHES = (1, 2, 7, 8, 9, 15, 16, 17)

GEOMETRIES: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "one pixel": ((1, 1), {"kernel_size": 1}),
    "one pixel, wide border": ((1, 1), {"kernel_size": 3, "padding": 1}),
    "border wider than the kernel": ((2, 3), {"kernel_size": 2, "padding": 3}),
    "kernel is the image": ((4, 3), {"kernel_size": (4, 3)}),
    "kernel is the padded image": ((4, 3), {"kernel_size": (6, 7), "padding": (1, 2)}),
    "stride beyond the kernel": ((7, 8), {"kernel_size": 2, "stride": 3}),
    "stride beyond the image": ((3, 3), {"kernel_size": 1, "stride": 9}),
    "1 x 1": ((5, 4), {"kernel_size": 1}),
    "3 x 3, same size": ((6, 5), {"kernel_size": 3, "padding": 1}),
    "4 x 4, stride 2": ((7, 6), {"kernel_size": 4, "stride": 2, "padding": 1}),
    "nothing square": ((5, 9), {"kernel_size": (2, 5), "stride": (1, 3), "padding": (0, 2)}),
    "nothing square, the other way": ((9, 4), {"kernel_size": (5, 1), "stride": (3, 2), "padding": (4, 0)}),
    "last columns unread": ((6, 8), {"kernel_size": 3, "stride": 4}),
    "one row": ((1, 17), {"kernel_size": (1, 4), "stride": (1, 2)}),
    "one column": ((17, 1), {"kernel_size": (4, 1), "stride": (2, 1), "padding": (3, 0)}),
}


@pytest.mark.parametrize(("size", "options"), GEOMETRIES.values(), ids=GEOMETRIES.keys())
@pytest.mark.parametrize("loss", LOSSES)
def test_every_geometry_agrees(table: str, size: tuple[int, int], options: dict[str, Any], loss: str) -> None:
    conv = Conv(3, 2, **options)
    features = int(np.prod(conv.output_shape((3, *size))))
    check_image_model([conv, eb.Linear(features, 3)], (3, *size), loss=loss)


@pytest.mark.parametrize(("size", "options"), GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_every_geometry_agrees_between_other_layers(table: str, size: tuple[int, int], options: dict[str, Any]) -> None:
    conv = Conv(3, 5, **options)
    features = int(np.prod(conv.output_shape((3, *size))))
    layers = [Conv(2, 3, 1), eb.Tanh(), conv, eb.ReLU(), eb.Flatten(), eb.Linear(features, 3)]
    check_image_model(layers, (2, *size), rows=17)


@pytest.mark.parametrize("inside", CHANNELS)
@pytest.mark.parametrize("outside", CHANNELS)
def test_every_number_of_channels_agrees(table: str, inside: int, outside: int) -> None:
    layers = [Conv(inside, outside, (2, 1), padding=(1, 0)), eb.ReLU(), Conv(outside, 2, (3, 2))]
    check_image_model(layers, (inside, 2, 2), rows=9)


def test_every_batch_agrees_and_has_the_same_bits(table: str) -> None:
    layers = [Conv(3, 17, 3, padding=1), eb.ReLU(), Conv(17, 5, 2, stride=2), eb.GELU(), eb.Linear(20, 4)]
    model, net = image_model(layers, (3, 5, 4))
    x, y = batch(33, 60, low=-1.0), labels(33, 4)
    check_loss(model, net, x, y, "cross_entropy")
    assert_same_in_any_batch(model, x, y, "cross_entropy", BATCHES)
    for rows in BATCHES:
        check_loss(model, net, x[-rows:], y[-rows:], "squared_error")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rows", [5, 20])
def test_gradient_is_the_slope_of_the_loss(table: str, loss: str, rows: int) -> None:
    layers = [Conv(2, 5, 3, padding=1), eb.ReLU(), Conv(5, 3, (2, 3), stride=2), eb.Softplus(), eb.Linear(12, 3)]
    model, net = image_model(layers, (2, 4, 5))
    check_central_differences(model, net, batch(rows, 40, low=-1.0), labels(rows, 3), loss)


# ---- what stands around a convolution


@pytest.mark.parametrize("activation", LAYERS.values())
def test_activations_are_carried_or_stand_alone(table: str, activation: str) -> None:
    """First, above a convolution, above another activation, above a pool, above Flatten, last."""
    act = getattr(eb, activation)
    layers = [
        act(), Conv(2, 3, 2), act(), eb.Sigmoid(), act(), eb.AvgPool2d(2, stride=1), act(), Conv(3, 5, 1, bias=False),
        eb.Flatten(), act(), eb.Linear(20, 3), act(),
    ]  # fmt: skip
    check_image_model(layers, (2, 4, 4), rows=17)


@pytest.mark.parametrize("rows", [3, 17])
def test_dropout_between_images_is_idle_outside_training(table: str, rows: int) -> None:
    layers = [eb.Dropout(), Conv(2, 3, 2), eb.ReLU(), eb.Dropout(0.2), Conv(3, 2, 2), eb.Dropout(0.9), eb.GELU()]
    check_image_model([*layers, eb.Flatten(), eb.Dropout(), eb.Linear(8, 3)], (2, 4, 4), rows=rows)


FLATTENED: dict[str, list[Any]] = {
    "never": [Conv(2, 3, 2), eb.Tanh(), eb.Linear(27, 4)],
    "before the activation": [Conv(2, 3, 2), eb.Flatten(), eb.ReLU(), eb.Linear(27, 4)],
    "after a linear layer": [Conv(2, 3, 2), eb.Linear(27, 4), eb.Flatten(), eb.Tanh()],
    "twice": [Conv(2, 3, 2), eb.Flatten(), eb.Flatten(), eb.Linear(27, 4)],
    "last": [Conv(2, 4, 4), eb.Flatten()],
    "not even at the end": [Conv(2, 2, 3)],
    "image after image": [Conv(2, 3, 2), Conv(3, 4, 3)],
}


@pytest.mark.parametrize("layers", FLATTENED.values(), ids=FLATTENED.keys())
@pytest.mark.parametrize("rows", [1, 4, 9, 33])
def test_flatten_may_stand_anywhere_or_be_left_out(table: str, layers: list[Any], rows: int) -> None:
    check_image_model(layers, (2, 4, 4), rows=rows)


def test_one_logit(table: str) -> None:
    check_image_model([Conv(1, 3, 2), eb.ReLU(), Conv(3, 1, 2)], (1, 3, 3), rows=17)


def test_weights_have_torch_layout(table: str) -> None:
    model = eb.Sequential([Conv(1, 2, (1, 2))], input_shape=(1, 1, 2))
    assert {n: p.shape for n, p in model.parameters().items()} == {"0.weight": (2, 1, 1, 2), "0.bias": (2,)}
    weight = np.array([[[[1.0, 2.0]]], [[[3.0, 5.0]]]])
    model.load_parameters({"0.weight": weight, "0.bias": np.array([0.5, 0.25])})
    np.testing.assert_array_equal(model(np.array([[[[10.0, 100.0]]]])), [[210.5, 530.25]])


def test_it_is_cross_correlation_as_torch_has_it(table: str) -> None:
    torch = pytest.importorskip("torch")
    model, _ = image_model([Conv(3, 4, (2, 3), stride=(1, 2), padding=(1, 0))], (3, 5, 6))
    x = batch(9, 90).reshape(9, 3, 5, 6)
    weight, bias = (torch.from_numpy(p).double() for p in model.parameters().values())
    wanted = torch.nn.functional.conv2d(torch.from_numpy(x).double(), weight, bias, (1, 2), (1, 0))
    assert_within(model(x), wanted.reshape(9, -1).numpy(), np.full((9, wanted[0].numel()), 1e-5), "convolution")


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_float_inputs_of_every_width_give_the_logits_of_float32(table: str, dtype: type) -> None:
    model, _ = image_model([Conv(3, 4, 2), eb.ReLU(), eb.Linear(16, 3)], (3, 3, 3))
    x = batch(9, 27).astype(np.float16).reshape(9, 3, 3, 3)
    np.testing.assert_array_equal(model(x.astype(dtype)), model(x.astype(np.float32)))
    np.testing.assert_array_equal(model(x.astype(dtype).reshape(9, 27)), model(x.astype(np.float32)))
    assert model.input_gradient(x.astype(dtype), labels(9, 3)).dtype == dtype
    assert model.jacobian(x.astype(dtype)).shape == (9, 3, 3, 3, 3)


def test_initial_weights_are_uniform_within_one_over_the_root_of_fan_in() -> None:
    weight, bias = eb.Sequential([Conv(4, 200, (2, 3))], input_shape=(4, 2, 3)).parameters().values()
    for p in (weight, bias):
        assert 0.95 / np.sqrt(24) < np.abs(p).max() <= 1 / np.sqrt(24)


def test_repr_and_equality() -> None:
    assert Conv(1, 2, 3) == Conv(1, 2, (3, 3), 1, 0, True) == Conv(1, 2, [3, 3], stride=(1, 1), padding=[0, 0])
    assert Conv(1, 2, 3) != Conv(1, 2, 3, bias=False)
    assert hash(Conv(1, 2, 3)) == hash(Conv(1, 2, (3, 3)))
    layer = Conv(1, 2, (3, 4), 2, 1, False)
    assert eval(repr(layer), dict(vars(eb))) == layer


def test_cnn_is_the_published_one() -> None:
    model = eb.models.cnn()
    assert [p.shape for p in model.parameters().values()] == [
        (16, 1, 4, 4), (16,), (32, 16, 4, 4), (32,), (100, 1568), (100,), (10, 100), (10,),
    ]  # fmt: skip
