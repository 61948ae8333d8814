"""Input normalisation agrees with the float64 oracle, and keeps bounds and eps in the units of the input."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import assert_within, batch, check_central_differences, check_image_model, image_model, labels

CHANNELS = (1, 3, 5, 17, 33, 64, 65)
RGB = ((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))


@pytest.mark.parametrize("rows", [3, 17])
def test_it_may_stand_anywhere(table: str, rows: int) -> None:
    normal = eb.Normalize(*RGB)
    check_image_model([normal, eb.Conv2d(3, 4, 2), eb.ReLU(), eb.Linear(36, 3)], (3, 4, 4), rows=rows)
    check_image_model([normal, eb.MaxPool2d(2), eb.Linear(12, 3)], (3, 4, 4), rows=rows)
    check_image_model([normal, eb.Linear(48, 3)], (3, 4, 4), rows=rows)
    check_image_model([eb.Conv2d(1, 3, 2), normal, eb.GELU(), eb.Conv2d(3, 2, 2)], (1, 4, 4), rows=rows)
    check_image_model([eb.Conv2d(1, 3, 2), eb.ReLU(), normal], (1, 3, 3), rows=rows)
    check_image_model([eb.Linear(5, 3), normal, eb.Tanh()], (5,), rows=rows)
    check_image_model([eb.Tanh(), normal], (3,), rows=rows)
    check_image_model([eb.Flatten(), eb.Normalize(0.25, 0.5), eb.Linear(12, 3)], (3, 2, 2), rows=rows)


@pytest.mark.parametrize("channels", CHANNELS)
def test_every_number_of_channels_agrees(table: str, channels: int) -> None:
    rng = np.random.default_rng(channels)
    mean, std = rng.normal(size=channels), rng.uniform(0.2, 3.0, channels)
    check_image_model([eb.Normalize(mean, std), eb.Linear(2 * channels, 3)], (channels, 2, 1))


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_gradient_is_the_slope_of_the_loss(table: str, loss: str) -> None:
    model, net = image_model([eb.Normalize(*RGB), eb.Conv2d(3, 4, 2), eb.Softplus(), eb.Linear(16, 3)], (3, 3, 3))
    check_central_differences(model, net, batch(9, 27), labels(9, 3), loss)


@pytest.mark.parametrize("norm", oracle.NORMS)
def test_bounds_and_eps_are_those_of_the_input(table: str, norm: str) -> None:
    model, _ = image_model([eb.Normalize(0.5, 0.01), eb.Linear(12, 3)], (3, 2, 2))
    x, y = batch(20, 12), labels(20, 3)
    x_adv = eb.pgd(model, x, y, eps=0.1, norm=norm, steps=3)
    assert (oracle.distance(x_adv, x, norm) <= 0.1).all()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert (x_adv != x).any()


def test_torch_has_the_same(table: str) -> None:
    torch = pytest.importorskip("torch")
    x = batch(9, 12).reshape(9, 3, 2, 2)
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(3, 1, 1) for v in RGB)
    wanted = ((torch.from_numpy(x).double() - mean) / std).reshape(9, -1).numpy()
    model = eb.Sequential([eb.Normalize(*RGB)], input_shape=(3, 2, 2))
    assert_within(model(x), wanted, np.full(wanted.shape, 1e-6), "normalisation")


def test_it_has_no_parameters() -> None:
    assert eb.Sequential([eb.Normalize(*RGB)], input_shape=(3, 2, 2)).parameters() == {}


def test_repr_and_equality() -> None:
    layer = eb.Normalize(*RGB)
    assert layer == eb.Normalize(list(RGB[0]), np.array(RGB[1]))
    assert layer != eb.Normalize(0.5, 0.25)
    assert eval(repr(layer), dict(vars(eb))) == layer
    assert hash(layer) == hash(eb.Normalize(*RGB))
