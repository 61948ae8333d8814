"""StumpMinimum: no combination of cells is nearer, in the caller's dtype, within box and mask."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch
from epsball.sources import Tree

A = eb.attacks
FEATURES, ROWS = 3, 25


def stump(feature: int, cut: float, left: Any, right: Any) -> Tree:
    values = np.array([np.zeros_like(left), left, right], np.float64)
    return Tree(np.array([feature, -1, -1]), np.array([cut, 0, 0]), np.array([1, 0, 0]), np.array([2, 0, 0]), values)


def stumps(seed: int, classes: int = 3, count: int = 12, rounds: bool = True) -> Any:
    """Stumps with thresholds between the points of a grid of sixteenths, and a tree without a split."""
    rng = np.random.default_rng(seed)
    width = classes if classes > 2 else 1
    trees = [
        stump(int(rng.integers(FEATURES)), rng.integers(1, 8) / 8, *rng.standard_normal((2, width)))
        for _ in range(count)
    ]
    leaf = Tree(np.array([-1]), np.zeros(1), np.zeros(1, int), np.zeros(1, int), rng.standard_normal((1, width)))
    decision = "largest" if width > 1 else "positive"
    return eb.sources.Trees(
        [*trees, leaf], FEATURES, np.zeros(width), scale=0.5, decision=decision, rounds_inputs=rounds
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("norm", ["linf", "l0"])
@pytest.mark.parametrize("seed", range(5))
def test_no_point_of_a_fine_grid_is_nearer(norm: str, seed: int, classes: int) -> None:
    model, grid = stumps(seed, classes), 16
    points = np.array(list(product((np.arange(grid) + 0.5) / grid, repeat=FEATURES)))
    label = model.predict(points)
    x = points[np.random.default_rng(seed).integers(len(points), size=ROWS)]
    y = model.predict(x)
    result = A.StumpMinimum(norm).run(model, x)
    np.testing.assert_array_equal(result.success, [(label != c).any() for c in y])
    np.testing.assert_array_equal(result.success, model.predict(result.x_adv) != y)
    for row in np.flatnonzero(result.success):
        d = points[label != y[row]] - x[row]
        nearest = np.abs(d).max(axis=1).min() if norm == "linf" else (d != 0).sum(axis=1).min()
        slack = 0.5 / grid + 1e-6 if norm == "linf" else 0
        assert nearest - slack <= result.distance[row] <= nearest


@pytest.mark.parametrize("rounds", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("norm", ["linf", "l0"])
def test_success_and_distance_are_those_of_the_point_in_the_callers_dtype(norm: str, dtype: type, rounds: bool) -> None:
    for seed in range(4):
        model, x = stumps(seed, rounds=rounds), batch(ROWS, FEATURES, seed).astype(dtype)
        y = model.predict(x)
        result = A.StumpMinimum(norm).run(model, x)
        assert result.x_adv.dtype == dtype
        assert result.success.any()
        np.testing.assert_array_equal(result.success, model.predict(result.x_adv) != y)
        d = result.x_adv.astype(np.float64) - x
        wanted = np.abs(d).max(axis=1) if norm == "linf" else (d != 0).sum(axis=1)
        np.testing.assert_array_equal(result.distance, wanted)


@pytest.mark.parametrize("norm", ["linf", "l0"])
def test_a_single_stump_is_as_far_as_the_closed_form_of_trees_says(norm: str) -> None:
    tree = stump(1, 0.4, [1.0, 0.0], [0.0, 1.0])
    model, x = eb.sources.Trees([tree], FEATURES, np.zeros(2)), batch(ROWS, FEATURES)
    one, other = A.StumpMinimum(norm).run(model, x), A.TreeMinimum(norm).run(model, x)
    np.testing.assert_array_equal(one.x_adv, other.x_adv)
    np.testing.assert_array_equal(one.distance, other.distance)


@pytest.mark.parametrize("norm", ["linf", "l0"])
def test_box_and_mask_hold_and_rows_that_cannot_move_fail_alone(norm: str) -> None:
    model, x = stumps(1), batch(ROWS, FEATURES).astype(np.float64) * 0.6 + 0.2
    mask = np.ones((ROWS, FEATURES))
    mask[:3] = 0
    mask[3:10, 1] = 0
    result = A.StumpMinimum(norm, bounds=(0.15, 0.85), mask=mask).run(model, x)
    np.testing.assert_array_equal(result.x_adv[mask == 0], x[mask == 0])
    assert (result.x_adv >= 0.15).all()
    assert (result.x_adv <= 0.85).all()
    assert not result.success[:3].any()
    free = A.StumpMinimum(norm, bounds=None).run(model, x)
    assert (free.success >= result.success).all()
    assert (free.distance[result.success] <= result.distance[result.success]).all()
    np.testing.assert_array_equal(result.x_adv[~result.success], x[~result.success])


def test_targets_of_two_classes_and_rows_that_are_misclassified() -> None:
    model, x = stumps(2, classes=2), batch(ROWS, FEATURES)
    y = model.predict(x)
    aimed, left = A.StumpMinimum(targeted=True).run(model, x, 1 - y), A.StumpMinimum().run(model, x, y)
    np.testing.assert_array_equal(aimed.x_adv, left.x_adv)
    np.testing.assert_array_equal(aimed.success, left.success)
    still = A.StumpMinimum().run(model, x, 1 - y)
    np.testing.assert_array_equal(still.x_adv, x)
    assert still.success.all()


def test_boosted_stumps_of_scikit_learn() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    rng = np.random.default_rng(0)
    x = rng.random((200, 5)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 1).astype(int)
    estimator = ensemble.GradientBoostingClassifier(max_depth=1, n_estimators=40, random_state=0).fit(x, y)
    model = eb.from_sklearn(estimator)
    result = A.StumpMinimum().run(model, x, model.predict(x))
    assert result.success.all()
    np.testing.assert_array_equal(estimator.predict(result.x_adv) != model.predict(x), True)
    hop = A.HopSkipJump("linf", steps=5).run(model, x[:20])
    found = hop.success
    assert found.any()
    assert (hop.distance[found] >= result.distance[:20][found] * (1 - 1e-6)).all()


def test_bad_arguments_are_named() -> None:
    model, x = stumps(0), batch(ROWS, FEATURES)
    deep = Tree(
        np.array([0, 1, -1, -1, -1]),
        np.full(5, 0.5),
        np.array([1, 3, 0, 0, 0]),
        np.array([2, 4, 0, 0, 0]),
        np.eye(5, 3),
    )
    with pytest.raises(TypeError, match="model: wanted stumps, trees of one split, got a deeper tree"):
        A.StumpMinimum()(eb.sources.Trees([deep], FEATURES, np.zeros(3)), x)
    with pytest.raises(TypeError, match=r"model: wanted epsball\.sources\.Trees of stumps, got LabelOracle"):
        A.StumpMinimum()(eb.LabelOracle(model.predict), x)
    with pytest.raises(ValueError, match="targeted: wanted a model of two classes, got 3"):
        A.StumpMinimum(targeted=True)(model, x, np.zeros(ROWS, np.int64))
    with pytest.raises(ValueError, match="norm"):
        A.StumpMinimum("l2")
    with pytest.raises(ValueError, match=r"x: wanted values within bounds \[0, 1\], got 2 in row 0"):
        A.StumpMinimum()(model, x * 0 + 2)
