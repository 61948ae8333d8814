"""Max and average pooling agree with the float64 oracle: every geometry, width and batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import (
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

POOLS = (eb.MaxPool2d, eb.AvgPool2d)
CHANNELS = (1, 3, 5, 17, 33, 64, 65)
BATCHES = (1, 2, 7, 8, 9, 15, 16, 17)

GEOMETRIES: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "one pixel": ((1, 1), {"kernel_size": 1}),
    "one pixel, wide border": ((1, 1), {"kernel_size": 3, "padding": 1}),
    "window is the image": ((4, 3), {"kernel_size": (4, 3)}),
    "window is the padded image": ((3, 2), {"kernel_size": (5, 4), "padding": (1, 1)}),
    "widest border": ((4, 5), {"kernel_size": (4, 2), "padding": (2, 1), "stride": 1}),
    "windows overlap": ((5, 4), {"kernel_size": 3, "stride": 1}),
    "windows overlap over the border": ((5, 4), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "stride beyond the window": ((7, 8), {"kernel_size": 2, "stride": 3}),
    "last columns unread": ((5, 7), {"kernel_size": 2}),
    "nothing square": ((4, 9), {"kernel_size": (1, 4), "stride": (3, 2), "padding": (0, 2)}),
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(("size", "options"), GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_every_geometry_agrees(table: str, pool: Any, size: tuple[int, int], options: dict[str, Any]) -> None:
    layer = pool(**options)
    features = int(np.prod(layer.output_shape((3, *size))))
    for rows in (3, 17):
        check_image_model([layer, eb.Linear(features, 3)], (3, *size), rows=rows)
        check_image_model([eb.Conv2d(2, 3, 1), layer, eb.ReLU(), eb.Linear(features, 3)], (2, *size), rows=rows)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("channels", CHANNELS)
def test_every_number_of_channels_agrees(table: str, pool: Any, channels: int) -> None:
    check_image_model([pool(2, stride=1), eb.Linear(4 * channels, 3)], (channels, 3, 3), rows=17, loss="margin")


@pytest.mark.parametrize("pool", POOLS)
def test_every_batch_agrees_and_has_the_same_bits(table: str, pool: Any) -> None:
    layers = [pool(2, stride=1, padding=1), eb.Conv2d(3, 5, 2), eb.Tanh(), pool((2, 1)), eb.Linear(40, 4)]
    model, net = image_model(layers, (3, 4, 4))
    x, y = batch(33, 48, low=-1.0), labels(33, 4)
    check_loss(model, net, x, y, "cross_entropy")
    assert_same_in_any_batch(model, x, y, "cross_entropy", BATCHES)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_slope_of_the_loss(table: str, pool: Any, loss: str) -> None:
    model, net = image_model([eb.Conv2d(1, 3, 2), pool(2, stride=1), eb.Tanh(), eb.Linear(12, 3)], (1, 4, 4))
    check_central_differences(model, net, batch(20, 16, low=-1.0), labels(20, 3), loss)


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_may_be_first_last_or_everything(table: str, pool: Any) -> None:
    for rows in (3, 17):
        check_image_model([pool(2)], (3, 4, 4), rows=rows)
        check_image_model([pool(2, stride=1), pool(2), pool(1)], (3, 5, 5), rows=rows)
        check_image_model([eb.ReLU(), pool(2), eb.GELU()], (3, 4, 4), rows=rows)
        check_image_model([pool(3, padding=1), eb.Dropout(), eb.Flatten(), eb.ReLU()], (2, 4, 4), rows=rows)


@pytest.mark.parametrize("rows", [1, 17])
def test_gradient_of_equal_values_goes_to_the_first(table: str, rows: int) -> None:
    model = eb.Sequential([eb.MaxPool2d(2)], input_shape=(1, 2, 2))
    x = np.tile(np.array([0.0, 7.0, 7.0, 7.0], np.float32), (rows, 1))
    np.testing.assert_array_equal(model.jacobian(x)[:, 0], np.tile([0.0, 1.0, 0.0, 0.0], (rows, 1)))
    np.testing.assert_array_equal(model.jacobian(0 * x)[:, 0], np.tile([1.0, 0.0, 0.0, 0.0], (rows, 1)))


@pytest.mark.parametrize("rows", [1, 17])
def test_the_border_is_below_every_value_for_a_maximum_and_zero_for_a_mean(table: str, rows: int) -> None:
    x = np.full((rows, 1, 1, 1), -3.0, np.float32)
    options = {"kernel_size": (3, 2), "padding": (1, 1)}
    for pool, wanted in ((eb.MaxPool2d, -3.0), (eb.AvgPool2d, -0.5)):
        z = eb.Sequential([pool(**options)], input_shape=(1, 1, 1))(x)
        np.testing.assert_allclose(z, wanted, rtol=2e-7)
    largest = np.full((rows, 1, 1, 1), -np.finfo(np.float32).max)
    np.testing.assert_array_equal(eb.Sequential([eb.MaxPool2d(1)], input_shape=(1, 1, 1))(largest), largest[:, 0, 0])


@pytest.mark.parametrize("pool", POOLS)
def test_torch_has_the_same(table: str, pool: Any) -> None:
    torch = pytest.importorskip("torch")
    options = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)}
    x = batch(9, 60).reshape(9, 2, 5, 6)
    wanted = getattr(torch.nn, pool.__name__)(**options)(torch.from_numpy(x).double()).reshape(9, -1).numpy()
    model = eb.Sequential([pool(**options)], input_shape=(2, 5, 6))
    assert_within(model(x), wanted, np.full(wanted.shape, 1e-6), "pool")


def test_repr_and_equality() -> None:
    for pool in POOLS:
        assert pool(2) == pool((2, 2), 2) == pool(2, None, 0) == pool([2, 2], stride=(2, 2), padding=(0, 0))
        assert pool(2) != pool(2, 1)
        layer = pool((2, 3), 1, (1, 0))
        assert eval(repr(layer), dict(vars(eb))) == layer
    assert eb.MaxPool2d(2) != eb.AvgPool2d(2)
