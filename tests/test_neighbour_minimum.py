"""NeighbourMinimum: the nearest cell of another class, against grids, SciPy's optimiser and other attacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch
from epsball.attacks.neighbour_minimum import least_distance

A = eb.attacks


def neighbours(points: int, features: int, classes: int = 3, seed: int = 0) -> Any:
    rng = np.random.default_rng([seed, points])
    return eb.sources.KNN(rng.random((points, features)), rng.integers(0, classes, points), k=1, classes=classes)


@pytest.mark.parametrize("seed", range(4))
def test_no_point_of_a_fine_grid_is_nearer(seed: int) -> None:
    model, grid = neighbours(15, 2, seed=seed), 300
    ticks = (np.arange(grid) + 0.5) / grid
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    label = model.predict(points)
    x = np.random.default_rng(seed).random((20, 2))
    y = model.predict(x)
    result = A.NeighbourMinimum().run(model, x)
    assert result.success.all()
    np.testing.assert_array_equal(model.predict(result.x_adv) != y, True)
    np.testing.assert_allclose(result.distance, np.linalg.norm(result.x_adv - x, axis=1), rtol=1e-12)
    for row in range(len(x)):
        nearest = np.linalg.norm(points[label != y[row]] - x[row], axis=1).min()
        assert nearest - np.sqrt(2) / grid <= result.distance[row] <= nearest * (1 + 1e-5) + 1e-6


@pytest.mark.parametrize("constraints", [1, 3, 8, 30])
def test_least_distances_are_those_of_scipy(constraints: int) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(constraints)
    for _ in range(10):
        slope, inner = rng.normal(size=(constraints, 6)), rng.normal(size=6)
        offset = slope @ inner - rng.random(constraints)  # which `inner` meets
        step = least_distance(slope, offset)
        assert step is not None
        assert (slope @ step >= offset - 1e-8).all()
        best = optimize.minimize(
            lambda d: d @ d, inner, jac=lambda d: 2 * d, method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
            constraints={"type": "ineq", "fun": lambda d: slope @ d - offset, "jac": lambda d: slope},  # noqa: B023
        )  # fmt: skip
        np.testing.assert_allclose(np.linalg.norm(step), np.sqrt(best.fun), rtol=1e-5, atol=1e-6)


def test_constraints_that_contradict_each_other_have_no_step() -> None:
    assert least_distance(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, 1.0])) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_other_attack_finds_a_nearer_point(dtype: type) -> None:
    model, x = neighbours(40, 8), batch(15, 8).astype(dtype)
    best = A.NeighbourMinimum().run(model, x)
    assert best.success.all()
    assert best.x_adv.dtype == dtype
    np.testing.assert_array_equal(model.predict(best.x_adv) != model.predict(x), True)
    hop = A.HopSkipJump(steps=15).run(model, x)
    assert (hop.distance >= best.distance * (1 - 1e-4)).all()
    assert np.median(hop.distance / best.distance) < 1.2


def test_box_and_mask_hold() -> None:
    model, x = neighbours(40, 4), batch(20, 4).astype(np.float64) * 0.4 + 0.3
    mask = np.ones((20, 4))
    mask[:2] = 0
    mask[2:10, 1] = 0
    result = A.NeighbourMinimum(bounds=(0.3, 0.7), mask=mask).run(model, x)
    assert (result.x_adv >= 0.3).all()
    assert (result.x_adv <= 0.7).all()
    np.testing.assert_array_equal(result.x_adv[mask == 0], x[mask == 0])
    assert not result.success[:2].any()
    assert result.success[10:].any()
    np.testing.assert_array_equal(result.x_adv[~result.success], x[~result.success])
    free = A.NeighbourMinimum(bounds=None).run(model, x)
    assert (free.distance[result.success] <= result.distance[result.success] * (1 + 1e-4)).all()


def test_targets_and_misclassified_rows() -> None:
    model, x = neighbours(30, 5), batch(12, 5)
    y = (model.predict(x) + 1) % 3
    result = A.NeighbourMinimum(targeted=True).run(model, x, y)
    np.testing.assert_array_equal(result.success, model.predict(result.x_adv) == y)
    assert result.success.all()
    np.testing.assert_array_equal(A.NeighbourMinimum()(model, x, y), x)


def test_bad_arguments_are_named() -> None:
    x = batch(5, 4)
    with pytest.raises(TypeError, match=r"model: wanted epsball\.sources\.KNN with k = 1, got k = 3"):
        A.NeighbourMinimum()(eb.sources.KNN(x, np.arange(5), k=3), x)
    with pytest.raises(TypeError, match=r"model: wanted epsball\.sources\.KNN with k = 1, got Sequential"):
        A.NeighbourMinimum()(eb.models.linear(4, 3), x)
    with pytest.raises(ValueError, match="norm"):
        A.NeighbourMinimum(norm="linf")
