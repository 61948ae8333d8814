"""SparseFool, OnePixel and Pixle: how little they change, what they find, and what they count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, engine, pair
from oracle import Net

A = eb.attacks
SHAPE = (2, 5, 6)


def problem(rows: int = 30) -> tuple[Any, np.ndarray, np.ndarray]:
    model, _ = pair([60, 16, 5], "relu", scale=2.0)
    x = batch(rows, 60).reshape(rows, *SHAPE)
    return model, x, np.asarray(model.predict(x))


def changed(x_adv: Any, x: np.ndarray) -> np.ndarray:
    """Pixels in which any channel differs, (N,)."""
    return (np.asarray(x_adv) != x).any(axis=1).reshape(len(x), -1).sum(axis=1)


def test_sparsefool_is_the_l1_optimum_of_a_linear_model_but_for_its_overshoot() -> None:
    """The steepest features first, each as far as the box lets it, is the nearest point of a plane in L1."""
    model, net = pair([30, 2])
    x = batch(60, 30)
    y = net.predict(x)
    run, nearest = A.SparseFool(lam=1.0).run(model, x, y), A.LinearMinimum(norm="l1").run(model, x, y)
    assert nearest.success.all()
    assert run.success.all()
    moved = np.abs(np.asarray(run.x_adv, np.float64) - x).sum(axis=1)
    slope = np.abs(np.subtract(*net.weights[0])).max() / np.linalg.norm(np.subtract(*net.weights[0]))
    beyond = 1e-3 / slope * len(x[0])  # behind the plane, by features that may be ever flatter
    assert (moved <= 1.03 * 1.02 * nearest.distance + beyond).all()
    assert (moved >= nearest.distance * (1 - 1e-5)).all()


def test_sparsefool_changes_fewer_features_than_deepfool() -> None:
    model, x, y = problem()
    run, dense = A.SparseFool().run(model, x, y), A.DeepFool().run(model, x, y)
    assert run.success.mean() >= 0.9
    dense_l0 = (np.asarray(dense.x_adv) != x).reshape(len(x), -1).sum(axis=1)
    assert np.median(run.distance[run.success]) < 0.3 * np.median(dense_l0)
    assert (run.queries > dense.queries).all()


def test_sparsefool_with_no_overshoot_of_the_plane_needs_more_steps() -> None:
    model, x, y = problem()
    few, many = (A.SparseFool(steps=n, lam=1.0).run(model, x, y).success.mean() for n in (1, 30))
    assert few < many


@pytest.mark.parametrize("pixels", [1, 3])
def test_one_pixel_changes_no_more_pixels_than_asked_for(pixels: int) -> None:
    model, x, y = problem()
    run = A.OnePixel(pixels, steps=20, population=40).run(model, x, y)
    assert (changed(run.x_adv, x) <= pixels).all()
    assert run.success.any()
    generations = (run.queries - 1) / 40
    np.testing.assert_array_equal(generations, np.round(generations))
    assert (generations[~run.success] == 21).all()


def test_one_pixel_finds_the_only_pixel_that_matters() -> None:
    """Of 60 features the model looks at one: it must rise above 0.9, from 0.1."""
    w = np.zeros((2, 60))
    w[1, 37] = 10.0
    model = engine(Net([w], [np.array([9.0, 0.0])]))
    x = np.full((20, *SHAPE), 0.1, np.float32)
    run = A.OnePixel(steps=60, population=50).run(model, x, np.zeros(20, np.int64))
    assert run.success.mean() >= 0.9
    at = (np.asarray(run.x_adv) != x).reshape(20, -1)
    assert at[run.success][:, 37].all()


def test_pixle_only_moves_pixels() -> None:
    model, x, y = problem()
    run = A.Pixle().run(model, x, y)
    assert run.success.mean() > 0.3
    own = x.reshape(len(x), 2, -1).transpose(0, 2, 1)
    found = np.asarray(run.x_adv).reshape(len(x), 2, -1).transpose(0, 2, 1)
    for row in range(len(x)):
        assert {tuple(p) for p in found[row]} <= {tuple(p) for p in own[row]}
    assert (run.queries[~run.success] == 201).all()
    assert (changed(run.x_adv, x)[run.success] > 0).all()


@pytest.mark.parametrize("make", [lambda **k: A.OnePixel(3, 20, 40, **k), A.Pixle], ids=["OnePixel", "Pixle"])
def test_targets_are_reached_and_seeds_draw(make: Any) -> None:
    model, x, y = problem()
    second = np.asarray(model(x)).argsort(axis=1)[:, -2]
    run = make(targeted=True).run(model, x, second)
    assert run.success.any()
    np.testing.assert_array_equal(np.asarray(model.predict(run.x_adv)) == second, run.success)
    assert (np.asarray(make(seed=1)(model, x, y)) != np.asarray(make(seed=2)(model, x, y))).any()


@pytest.mark.parametrize(
    "attack", [A.SparseFool(), A.OnePixel(2, 10, 20), A.Pixle(4, 3)], ids=lambda a: type(a).__name__
)
def test_a_trace_ends_where_the_row_does(attack: Any) -> None:
    model, x, y = problem()
    run = attack.run(model, x, y, trace=True)
    assert run.trace.dtype == np.float32
    won = run.success & (run.queries > 1)
    last = run.trace.shape[1] - 1 - np.isfinite(run.trace[:, ::-1]).argmax(axis=1)
    np.testing.assert_allclose(run.trace[won, last[won]], run.loss[won], rtol=1e-6)
    assert np.isfinite(run.trace[~run.success]).all()


def test_images_and_bounds_are_asked_for() -> None:
    model, x, y = problem(3)
    for attack in (A.OnePixel(), A.Pixle()):
        with pytest.raises(ValueError, match=r"^x: wanted images"):
            attack(model, x.reshape(3, 60), y)
    for make in (A.SparseFool, A.OnePixel, A.Pixle):
        with pytest.raises(ValueError, match=r"^bounds: wanted finite bounds"):
            make(bounds=None)(model, x, y)
        with pytest.raises(ValueError, match=r"^x: wanted values within bounds"):
            make()(model, x + 1, y)
        with pytest.raises(TypeError, match=r"^x: wanted float32"):
            make()(model, np.round(x).astype(np.int64), y)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (A.SparseFool, "lam", 0.5),
        (A.SparseFool, "overshoot", -0.1),
        (A.SparseFool, "norm", "l2"),
        (A.OnePixel, "pixels", 0),
        (A.OnePixel, "population", 3),
        (A.Pixle, "iterations", 0),
        (A.Pixle, "columns", (3, 2)),
        (A.Pixle, "rows", (0, 2)),
        (A.Pixle, "rows", 2),
    ],
)
def test_bad_options_are_named(make: Any, name: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{name}:"):
        make(**{name: value})
