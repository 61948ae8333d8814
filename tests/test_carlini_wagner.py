"""Carlini and Wagner's L-infinity and L0 attacks: near the minimum where it is known, shorter than L2's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import epsball as eb
from cases import batch, pair, sized

CW = eb.attacks.CarliniWagner
FEATURES, CLASSES, ROWS = 20, 2, 40


def linear_problem() -> tuple[Any, NDArray, NDArray]:
    model, net = pair([FEATURES, CLASSES], seed=3)
    rows = sized(ROWS, on_emulator=10)
    x = np.random.default_rng(3).uniform(0.0, 1.0, (rows, FEATURES)).astype(np.float32)
    return model, x, net.predict(x)


def fewest_features(model: Any, x: NDArray, y: NDArray) -> NDArray:
    """How many features of each row must go to an end of [0, 1] to turn a linear model of two classes."""
    weight, bias = (p.astype(np.float64) for p in model.parameters().values())
    counts = []
    for row, label in zip(x.astype(np.float64), y, strict=True):
        w, f = weight[1 - label] - weight[label], bias[1 - label] - bias[label]
        gains = np.sort(np.maximum(w * (1 - row), -w * row))[::-1].cumsum() + w @ row + f
        counts.append(np.argmax(gains > 0) + 1 if (gains > 0).any() else np.inf)
    return np.array(counts)


def test_l2_finds_rows_on_the_box_whose_steps_from_x_are_too_few_for_any_constant(table: str) -> None:
    model, net = pair([33, 24, 5], "tanh", scale=2.0)
    x = np.round(batch(30, 33))
    y = net.predict(x)
    one = CW(steps=100, search_steps=1, initial_constant=1e5).run(model, x, y)
    nine = CW(steps=100).run(model, x, y)
    long = CW(steps=3000).run(model, x, y)
    assert one.success.mean() <= 0.1
    np.testing.assert_array_equal(nine.success, long.success)
    assert long.success.mean() >= 0.9
    assert np.median(nine.distance[long.success] / long.distance[long.success]) <= 1.1


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
def test_linf_is_near_the_closed_form_of_linear_models(table: str, bounds: Any) -> None:
    """τ falls by tenths, so that a row may stop a tenth above; most are nearer."""
    model, x, y = linear_problem()
    found = CW(norm="linf", steps=200, step_size=0.002, initial_constant=1e-3, bounds=bounds).run(model, x, y)
    best = eb.attacks.LinearMinimum("linf", bounds).run(model, x, y)
    np.testing.assert_array_equal(found.success, best.success)
    ratio = found.distance[best.success] / best.distance[best.success]
    assert (ratio >= 1 - 2e-3).all()
    assert ratio.max() <= 1.11
    assert np.median(ratio) <= 1.05


def test_l0_is_near_the_fewest_features_of_linear_models(table: str) -> None:
    model, x, y = linear_problem()
    found = CW(norm="l0", steps=200, step_size=0.05).run(model, x, y)
    wanted = fewest_features(model, x, y)
    np.testing.assert_array_equal(found.success, np.isfinite(wanted))
    extra = (found.distance - wanted)[found.success]
    assert (extra >= 0).all()
    assert (extra == 0).mean() >= 0.5
    assert extra.max() <= 2


@pytest.mark.parametrize("norm", ["linf", "l0"])
def test_it_is_shorter_in_its_own_norm_than_the_l2_attack(table: str, norm: str) -> None:
    model, net = pair([33, 24, 5], "tanh", scale=2.0)
    x = batch(sized(30, on_emulator=8), 33)
    y = net.predict(x)
    own = CW(norm=norm, steps=100, step_size=0.02).run(model, x, y)
    plain = CW(steps=200, search_steps=6, step_size=0.02).run(model, x, y)
    order = {"linf": np.inf, "l0": 0}[norm]
    other = np.linalg.norm(np.asarray(plain.x_adv, np.float64) - x, order, axis=1)
    both = own.success & plain.success
    assert both.mean() >= 0.9
    assert (own.distance[both] < other[both]).mean() >= 0.9


@pytest.mark.parametrize("norm", ["linf", "l0"])
def test_no_row_takes_more_steps_than_all_constants_have(norm: str) -> None:
    model, net = pair([33, 24, 5], "tanh", scale=2.0)
    x = batch(30, 33)
    run = CW(norm=norm, steps=20, search_steps=4, abort_early=False).run(model, x, net.predict(x), trace=True)
    assert run.trace is not None
    assert run.trace.shape == (30, 1 + 4 * 21)
    assert run.queries.max() <= run.trace.shape[1]
    assert run.queries.max() > 21


@pytest.mark.parametrize(("norm", "count", "first"), [("l2", 9, 1e-3), ("linf", 21, 1e-5), ("l0", 31, 1e-3)])
def test_without_constants_those_of_the_norm_are_tried(norm: str, count: int, first: float) -> None:
    model, net = pair([9, 4], scale=2.0)
    x = batch(8, 9)
    given = CW(norm=norm, steps=10, search_steps=count, initial_constant=first).run(model, x, net.predict(x))
    standing = CW(norm=norm, steps=10).run(model, x, net.predict(x))
    np.testing.assert_array_equal(given.x_adv, standing.x_adv)
    np.testing.assert_array_equal(given.queries, standing.queries)
    assert eb.attacks.from_dict(CW(norm=norm).to_dict()) == CW(norm=norm)
