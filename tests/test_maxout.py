"""Maxout: values, gradients to the first maximum, training, files, and what makes it worth attacking: linear pieces."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import SIZES, assert_within, batch, check_loss, labels, pair, use_threads
from oracle import TINY
from oracle_layers import Maxout, Stack, check_slopes, maxout_net


@pytest.mark.parametrize("units", SIZES)
def test_gradients_agree_for_odd_widths(table: str, units: int) -> None:
    for pieces in (1, 2, 5):
        net = maxout_net([7, units, 3], pieces)
        check_loss(net.engine(), net, batch(13, 7), labels(13, 3), "cross_entropy")


@pytest.mark.parametrize("rows", SIZES)
def test_jacobian_agrees_through_two_layers_for_odd_batches(table: str, rows: int) -> None:
    net = maxout_net([17, 15, 9, 4], 3)
    x = batch(rows, 17)
    x = x[~net.rows_on_a_kink(x)]
    model, run = net.engine(), net.forward(x)
    assert_within(model(x), run.logits, run.logit_errors, "logits")
    wanted, error = net.jacobian(x)
    assert_within(model.jacobian(x), wanted, error + TINY, "Jacobian")


def test_gradient_is_the_slope_of_the_loss(table: str) -> None:
    net = maxout_net([5, 7, 3], 2)
    check_slopes(net.engine(), net, batch(12, 5), labels(12, 3), "cross_entropy")


@pytest.mark.parametrize("units", [1, 5, 17])
def test_values_are_the_maxima_exactly_and_the_first_one_takes_the_gradient(table: str, units: int) -> None:
    model = eb.Sequential([eb.Maxout(4)], input_shape=(4 * units,))
    x = np.random.default_rng(units).integers(0, 3, (50, 4 * units)).astype(np.float32)  # full of ties
    pieces = x.reshape(50, 4, units)
    np.testing.assert_array_equal(model(x), pieces.max(axis=1))
    wanted = (np.arange(4)[:, None] == pieces.argmax(axis=1)[:, None, :]).reshape(50, -1)
    np.testing.assert_array_equal(np.asarray(model.jacobian(x)).sum(axis=1), wanted)


def test_images_keep_their_pixels(table: str) -> None:
    model = eb.Sequential([eb.Maxout(2), eb.Flatten()], input_shape=(6, 2, 5))
    x = np.random.default_rng(0).normal(size=(3, 6, 2, 5)).astype(np.float32)
    np.testing.assert_array_equal(model(x), np.maximum(x[:, :3], x[:, 3:]).reshape(3, -1))


def test_stands_between_convolutions(table: str) -> None:
    layers = [eb.Conv2d(1, 6, 3), eb.Maxout(2), eb.Conv2d(3, 2, 3), eb.Flatten(), eb.Linear(32, 3)]
    model = eb.Sequential(layers, input_shape=(1, 8, 8))
    below = eb.Sequential([layers[0], eb.Flatten()], input_shape=(1, 8, 8))
    above = eb.Sequential(layers[2:], input_shape=(3, 6, 6))
    parameters = list(model.parameters().values())
    for part, values in ((below, parameters[:2]), (above, parameters[2:])):
        part.load_parameters(dict(zip(part.parameters(), values, strict=True)))
    x = batch(20, 64).reshape(20, 1, 8, 8)
    middle = np.asarray(below(x)).reshape(20, 2, 3, 6, 6).max(axis=1)
    np.testing.assert_allclose(model(x), above(middle), atol=1e-6)


@pytest.mark.parametrize("slab", [1, 3, 14, 64])
def test_a_row_alone_is_the_row_in_its_batch(table: str, slab: int) -> None:
    model = maxout_net([33, 17, 10], 3).engine()
    x, y = batch(40, 33), labels(40, 10)
    z, g = model(x), model.input_gradient(x, y)
    eb._native.set_slab_rows(slab)
    np.testing.assert_array_equal(model(x), z)
    for i in (0, 13, 39):
        np.testing.assert_array_equal(model(x[i : i + 1])[0], z[i])
        np.testing.assert_array_equal(model.input_gradient(x[i : i + 1], y[i : i + 1])[0], g[i])


def test_mlp_takes_maxout_by_name() -> None:
    model = eb.models.mlp([4, 6, 5, 3], activation="maxout", pieces=2, dropout=0.25)
    hidden = [eb.Linear(4, 12), eb.Maxout(2), eb.Dropout(0.25), eb.Linear(6, 10), eb.Maxout(2), eb.Dropout(0.25)]
    assert model.layers == (*hidden, eb.Linear(5, 3))
    assert eb.models.mlp([4, 6, 3], activation="maxout").layers[1] == eb.Maxout(5)


def test_training_learns_and_reaches_the_same_bits_on_any_number_of_threads(digits: dict[str, np.ndarray]) -> None:
    results = []
    for threads in (1, 2):
        use_threads(threads)
        model = eb.models.mlp([784, 20, 10], activation="maxout", pieces=3)
        eb.fit(model, digits["x"][:2000], digits["y"][:2000], epochs=8)
        results.append(model.parameters())
    assert (model.predict(digits["xt"]) == digits["yt"]).mean() > 0.8
    for name, p in results[0].items():
        np.testing.assert_array_equal(p, results[1][name])


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    model = eb.models.mlp([9, 7, 4], activation="maxout", pieces=3)
    model.save(tmp_path / "model.safetensors")
    again = eb.load(tmp_path / "model.safetensors")
    assert again.layers == model.layers
    np.testing.assert_array_equal(again(batch(5, 9)), model(batch(5, 9)))


def test_bad_arguments_are_named() -> None:
    for bad in (0, -1, 2.5, "2"):
        with pytest.raises((ValueError, TypeError), match="pieces"):
            eb.Maxout(bad)
        with pytest.raises((ValueError, TypeError), match="pieces"):
            eb.models.mlp([4, 3, 2], activation="maxout", pieces=bad)
    with pytest.raises(ValueError, match="multiple of 3"):
        eb.Sequential([eb.Linear(4, 8), eb.Maxout(3)], input_shape=(4,))
    with pytest.raises(ValueError, match="activation"):
        eb.models.mlp([4, 3, 2], activation="max")


def kinks(net: Any, x: np.ndarray, direction: np.ndarray, choices: Any) -> list[float]:
    """Where along x + t direction, t in [-3, 3], the hidden units' choices change, by bisection in float64."""

    def at(t: float) -> bytes:
        return choices(net, x + t * direction).tobytes()

    found: list[float] = []

    def split(low: float, high: float, left: bytes, right: bytes) -> None:
        if left == right and high - low < 0.01:
            return
        if high - low < 1e-9:
            found.append(high)
            return
        middle = (low + high) / 2
        state = at(middle)
        split(low, middle, left, state)
        split(middle, high, state, right)

    split(-3.0, 3.0, at(-3.0), at(3.0))
    return found


def maxout_choices(net: Stack, x: np.ndarray) -> np.ndarray:
    net.forward(x[None])
    return np.concatenate([layer.first.ravel() for layer in net.layers if isinstance(layer, Maxout)])


def relu_choices(net: Any, x: np.ndarray) -> np.ndarray:
    return np.concatenate([(a > 0).ravel() for a in net.forward(x[None]).before[:-1]])


@pytest.mark.parametrize("kind", ["maxout", "relu"])
def test_logits_along_a_ray_are_linear_between_the_kinks_and_bend_at_them(table: str, kind: str) -> None:
    if kind == "maxout":
        net: Any = maxout_net([5, 6, 4, 3], 3)
        model, choices = net.engine(), maxout_choices
    else:
        model, net = pair([5, 8, 6, 3], "relu")
        choices = relu_choices
    rng = np.random.default_rng(1)
    x, direction = rng.uniform(0, 1, 5), rng.normal(size=5)
    ends = [-3.0, *kinks(net, x, direction, choices), 3.0]
    assert len(ends) > 5, "the ray crosses hardly any kink"
    slopes = []
    for low, high in pairwise(ends):
        t = np.linspace(low, high, 9)[1:-1]
        rows = (x + t[:, None] * direction).astype(np.float32)
        run = net.forward(rows)
        z = np.asarray(model(rows), np.float64)
        line = np.linspace(z[0], z[-1], len(t))
        # The rows are rounded to float32: they lie off the ray by half an ulp in each coordinate.
        jacobian = np.abs(net.jacobian(rows)[0]).sum(axis=2)
        off = 2.0**-24 * np.abs(rows).max() * jacobian.max(axis=0)
        bound = 2 * run.logit_errors.max(axis=0) + 3 * off
        assert (np.abs(z - line) <= bound).all()
        slopes.append(np.asarray(model.jacobian(rows[3:4]))[0] @ direction)
    bends = [np.abs(a - b).max() for a, b in pairwise(slopes)]
    assert min(bends) > 0  # every kink changes the slope: the pieces are as many as counted
