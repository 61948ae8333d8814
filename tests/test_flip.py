"""Features added and features deleted: only that way, at most k, the fewest that turn a linear model."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import epsball as eb
from cases import batch, constant_model, pair

A = eb.attacks
FEATURES, CLASSES, ROWS = 33, 4, 40


def binary(rows: int = ROWS, features: int = FEATURES) -> NDArray:
    return (batch(rows, features) > 0.5).astype(np.float32)


def problem(sizes: list[int] | None = None) -> tuple[Any, NDArray, NDArray]:
    model, net = pair(sizes or [FEATURES, 16, CLASSES], "tanh", scale=2.0)
    x = binary(features=net.features)
    return model, x, net.predict(x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_features_are_only_added(table: str, dtype: type) -> None:
    model, x, y = problem()
    run = A.FeatureAddition(k=6).run(model, x.astype(dtype), y)
    d = np.asarray(run.x_adv) - x
    assert set(np.unique(d)) <= {0, 1}
    np.testing.assert_array_equal(run.distance, d.sum(axis=1))
    assert 0 < run.distance.max() <= 6
    np.testing.assert_array_equal(run.success, model.predict(run.x_adv) != y)
    assert run.success.mean() >= 0.5
    assert run.x_adv.dtype == dtype


def test_features_are_only_deleted(table: str) -> None:
    model, _, _ = problem()
    x = np.random.default_rng(0).integers(0, 4, (ROWS, FEATURES)).astype(np.float32)
    run = A.FeatureDeletion(k=6, bounds=(0.0, 10.0)).run(model, x, model.predict(x))
    x_adv = np.asarray(run.x_adv)
    assert ((x_adv == x) | (x_adv == 0)).all()
    np.testing.assert_array_equal(run.distance, (x_adv != x).sum(axis=1))
    assert run.distance.max() <= 6
    assert run.success.mean() >= 0.3


def test_features_that_are_not_absent_are_not_added(table: str) -> None:
    model, x, y = problem()
    x[:, ::2] = 0.25
    run = A.FeatureAddition(k=FEATURES).run(model, x, y)
    np.testing.assert_array_equal(np.asarray(run.x_adv)[:, ::2], 0.25)
    assert run.success.any()


def fewest(model: Any, x: NDArray, y: int, target: int, to: float, k: int) -> int | None:
    """The fewest features that turn one row to the target, by trying all sets of them."""
    may = np.flatnonzero(x == 0 if to == 1 else x > 0)
    for count in range(k + 1):
        sets = list(combinations(may, count))
        points = np.repeat(x[None], len(sets), axis=0)
        for point, features in zip(points, sets, strict=True):
            point[list(features)] = to
        if (model.predict(points) == target).any():
            return count
    return None


@pytest.mark.parametrize("kind", [A.FeatureAddition, A.FeatureDeletion])
def test_linear_models_of_two_classes_turn_with_the_fewest_features(table: str, kind: Any) -> None:
    model, x, y = problem([11, 2])
    run = kind(k=4).run(model, x, y)
    to = 1.0 if kind is A.FeatureAddition else 0.0
    for row in range(ROWS):
        wanted = fewest(model, x[row], y[row], 1 - y[row], to, 4)
        assert run.success[row] == (wanted is not None)
        if wanted is not None:
            assert run.distance[row] == wanted
    assert run.success.mean() > 0.2


@pytest.mark.parametrize("kind", [A.FeatureAddition, A.FeatureDeletion])
def test_the_feature_of_the_largest_gain_moves_first(table: str, kind: Any) -> None:
    model, x, y = problem()
    gradient = model.input_gradient(x, y, loss="margin")
    end = 1.0 if kind is A.FeatureAddition else 0.0
    gain = np.where(x != end, gradient * (end - x), 0.0)
    run = kind(k=1).run(model, x, y)
    rows = np.flatnonzero(run.distance > 0)
    assert len(rows) > 0
    for row in rows:
        assert np.flatnonzero(np.asarray(run.x_adv)[row] != x[row]) == [gain[row].argmax()]


@pytest.mark.parametrize("kind", [A.FeatureAddition, A.FeatureDeletion])
def test_masked_features_stay_and_targets_are_reached(table: str, kind: Any) -> None:
    model, x, y = problem()
    mask = np.arange(FEATURES) % 3 != 0
    x_adv = np.asarray(kind(k=20, mask=mask)(model, x, y))
    np.testing.assert_array_equal(x_adv[:, ~mask], x[:, ~mask])
    target = (y + 1) % CLASSES
    run = kind(k=20, targeted=True).run(model, x, target)
    np.testing.assert_array_equal(run.success, model.predict(run.x_adv) == target)
    assert run.success.mean() >= 0.2
    np.testing.assert_array_equal(np.asarray(run.x_adv)[~run.success], x[~run.success])


def test_rows_without_a_gradient_say_so(table: str) -> None:
    model, x = constant_model(FEATURES, CLASSES), binary()
    run = A.FeatureAddition(k=5).run(model, x, model.predict(x))
    assert run.zero_gradient.all()
    np.testing.assert_array_equal(run.x_adv, x)


@pytest.mark.parametrize("kind", [A.FeatureAddition, A.FeatureDeletion])
def test_no_feature_may_move_at_k_zero_and_bad_options_are_named(kind: Any) -> None:
    model, x, y = problem()
    np.testing.assert_array_equal(kind(k=0)(model, x, y), x)
    for k in (-1, 1.5, None, True):
        with pytest.raises((ValueError, TypeError), match="k: wanted an integer"):
            kind(k=k)
    with pytest.raises(ValueError, match="bounds: wanted a pair"):
        kind(k=3, bounds=None)
    with pytest.raises(ValueError, match="norm"):
        kind(k=3, norm="l2")
