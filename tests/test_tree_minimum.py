"""TreeMinimum: the nearest point of another leaf is the optimum, whatever the norm, in the caller's dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import batch
from epsball.sources import Tree

A = eb.attacks
FEATURES, CLASSES, ROWS = 3, 3, 25
NORMS = ("linf", "l2", "l1", "l0")


def random_tree(seed: int, nodes: int = 25, grid: int | None = None) -> Tree:
    """A tree grown at random in [0, 1]^FEATURES; with `grid` its thresholds are multiples of 1 / grid."""
    rng = np.random.default_rng(seed)
    feature, threshold, left, right = [-1], [0.0], [0], [0]
    leaves = [0]
    while len(feature) < nodes:
        node = leaves.pop(rng.integers(len(leaves)))
        feature[node] = int(rng.integers(FEATURES))
        threshold[node] = float(rng.integers(1, grid) / grid if grid else rng.random())
        for side in (left, right):
            side[node] = len(feature)
            leaves.append(len(feature))
            feature.append(-1), threshold.append(0.0), left.append(0), right.append(0)
    value = np.eye(CLASSES)[rng.integers(CLASSES, size=len(feature))]
    return Tree(np.array(feature), np.array(threshold), np.array(left), np.array(right), value)


def trees(seed: int, rounds: bool = True, **options: Any) -> Any:
    return eb.sources.Trees([random_tree(seed, **options)], FEATURES, np.zeros(CLASSES), rounds_inputs=rounds)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(5))
def test_no_point_of_a_fine_grid_is_nearer(norm: str, seed: int) -> None:
    """Thresholds lie between the points of the grid, so that every leaf has some, half a cell from its edges."""
    model, grid = trees(seed, grid=8), 16
    ticks = (np.arange(grid) + 0.5) / grid
    points = np.stack(np.meshgrid(*[ticks] * FEATURES), axis=-1).reshape(-1, FEATURES)
    label = model.predict(points)
    x = points[np.random.default_rng(seed).integers(len(points), size=ROWS)]
    result = A.TreeMinimum(norm).run(model, x)
    y = model.predict(x)
    np.testing.assert_array_equal(result.success, [(label != c).any() for c in y])
    np.testing.assert_array_equal(result.success, model.predict(result.x_adv) != y)
    np.testing.assert_allclose(result.distance, oracle_distance(result.x_adv, x, norm), rtol=1e-12)
    slack = {"linf": 0.5 / grid, "l2": np.sqrt(FEATURES) * 0.5 / grid, "l1": FEATURES * 0.5 / grid, "l0": 0}[norm]
    for row in np.flatnonzero(result.success):
        nearest = oracle_distance(
            points[label != y[row]], np.broadcast_to(x[row], (int((label != y[row]).sum()), 3)), norm
        )
        assert nearest.min() - slack - 1e-6 <= result.distance[row] <= nearest.min()


def oracle_distance(a: np.ndarray, b: np.ndarray, norm: str) -> np.ndarray:
    return (a != b).sum(axis=1).astype(float) if norm == "l0" else np.asarray(oracle.distance(a, b, norm))


@pytest.mark.parametrize("rounds", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_thresholds_are_passed_by_one_unit_in_the_last_place(norm: str, dtype: type, rounds: bool) -> None:
    for seed in range(6):
        model, x = trees(seed, rounds), batch(ROWS, FEATURES, seed).astype(dtype)
        y = model.predict(x)
        result = A.TreeMinimum(norm).run(model, x)
        assert result.x_adv.dtype == dtype
        np.testing.assert_array_equal(result.success, model.predict(result.x_adv) != y)
        assert result.success.any()
        spacing = np.float32 if rounds and dtype == np.float64 else dtype
        for row, feature in np.argwhere(result.x_adv != x):
            to, kind = result.x_adv[row, feature], np.dtype(spacing).type
            inward = kind(np.nextafter(kind(to), kind(x[row, feature])))
            back = result.x_adv[row].copy()
            back[feature] = inward
            if norm != "l0":
                assert model.predict(back[None]) == y[row] or back[feature] == x[row, feature] or norm == "linf"


@pytest.mark.parametrize("norm", NORMS)
def test_box_and_mask_hold_and_rows_that_cannot_move_fail_alone(norm: str) -> None:
    model, x = trees(1), batch(ROWS, FEATURES).astype(np.float64) * 0.6 + 0.2
    mask = np.ones((ROWS, FEATURES))
    mask[:3] = 0
    mask[3:10, 1] = 0
    result = A.TreeMinimum(norm, bounds=(0.15, 0.85), mask=mask).run(model, x)
    np.testing.assert_array_equal(result.x_adv[mask == 0], x[mask == 0])
    assert (result.x_adv >= 0.15).all()
    assert (result.x_adv <= 0.85).all()
    assert not result.success[:3].any()
    free = A.TreeMinimum(norm, bounds=None).run(model, x)
    assert free.success.all()
    assert (free.distance[result.success] <= result.distance[result.success]).all()
    np.testing.assert_array_equal(result.x_adv[~result.success], x[~result.success])


def test_targets_and_rows_that_are_misclassified() -> None:
    model, x = trees(2), batch(ROWS, FEATURES)
    y = model.predict(x)
    aims = A.TreeMinimum(targeted=True).run(model, x, (y + 1) % CLASSES)
    np.testing.assert_array_equal(aims.success, model.predict(aims.x_adv) == (y + 1) % CLASSES)
    assert aims.success.all()
    still = A.TreeMinimum().run(model, x, (y + 1) % CLASSES)
    np.testing.assert_array_equal(still.x_adv, x)
    np.testing.assert_array_equal(still.distance, 0)
    assert still.success.all()


def test_no_other_attack_finds_a_nearer_point() -> None:
    model, x = trees(3), batch(ROWS, FEATURES)
    for norm in ("l2", "linf"):
        best = A.TreeMinimum(norm).run(model, x)
        hop = A.HopSkipJump(norm, steps=10).run(model, x)
        assert (hop.distance[hop.success] >= best.distance[hop.success] * (1 - 1e-6)).all()
        assert hop.success.any()


def test_a_fitted_tree_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.tree")
    rng = np.random.default_rng(0)
    x, y = rng.random((200, FEATURES)), rng.integers(0, 2, 200)
    estimator = sklearn.DecisionTreeClassifier(random_state=0).fit(x, y)
    result = A.TreeMinimum("linf").run(eb.from_sklearn(estimator), x, y)
    assert result.success.all()
    np.testing.assert_array_equal(estimator.predict(result.x_adv) != y, result.success)
    assert np.median(result.distance) < 0.2


def test_bad_arguments_are_named() -> None:
    model, x = trees(0), batch(ROWS, FEATURES)
    with pytest.raises(TypeError, match=r"model: wanted epsball\.sources\.Trees of a single tree, got 2 trees"):
        A.TreeMinimum()(eb.sources.Trees([random_tree(0), random_tree(1)], FEATURES, np.zeros(CLASSES)), x)
    with pytest.raises(TypeError, match=r"model: wanted epsball\.sources\.Trees of a single tree, got LabelOracle"):
        A.TreeMinimum()(eb.LabelOracle(model.predict), x)
    with pytest.raises(ValueError, match=r"x: wanted values within bounds \[0, 1\], got 2 in row 0"):
        A.TreeMinimum()(model, x * 0 + 2)
    with pytest.raises(TypeError, match="y: wanted 25 class indices"):
        A.TreeMinimum()(model, x, np.zeros(ROWS))
    with pytest.raises(ValueError, match="norm"):
        A.TreeMinimum("l3")
    with pytest.raises(ValueError, match="y: a targeted attack"):
        A.TreeMinimum(targeted=True)(model, x)
