"""Projections onto balls, and balls cut with boxes: feasible, idempotent, optimal, in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import epsball as eb
import oracle
from cases import SIZES
from oracle import U

SETTINGS = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    # `table` stays the same on purpose, and how slow a busy machine draws examples says nothing.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
floats = st.floats(-4, 4, width=32)
unit = st.floats(0, 1, width=32)
radii = st.one_of(st.sampled_from([0.0, 1e-6, 8 / 255, 0.031, 0.1, 0.3, 1.0]), st.floats(0, 5))


@st.composite
def problems(draw: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Rows x in [0, 1], points v anywhere near, and a radius; ties and zeros are likely."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 40)))
    x = draw(hnp.arrays(np.float32, shape, elements=unit))
    v = draw(hnp.arrays(np.float32, shape, elements=floats))
    return x, v, draw(radii)


def rounding(x: np.ndarray, v: np.ndarray, eps: float) -> float:
    """What float32 coordinates and a radius kept from below may cost per coordinate."""
    return 8 * U * (np.abs(x).max() + np.abs(v).max()) + 16 * U * eps


def projected(v: np.ndarray, x: np.ndarray, eps: float, norm: str, bounds: oracle.Bounds) -> np.ndarray:
    out = v.copy()
    eb.ops.project_(out, x, eps=eps, norm=norm, bounds=bounds)
    return out


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
@SETTINGS
@given(problem=problems())
def test_projection_is_feasible_and_idempotent(
    table: str, norm: str, bounds: oracle.Bounds, problem: tuple[np.ndarray, np.ndarray, float]
) -> None:
    x, v, eps = problem
    eps = float(int(eps)) if norm == "l0" else eps
    once = projected(v, x, eps, norm, bounds)
    assert (oracle.distance(once, x, norm) <= eps).all()
    if bounds is not None:
        assert ((once >= bounds[0]) & (once <= bounds[1])).all()
    np.testing.assert_array_equal(projected(once, x, eps, norm, bounds), once)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@SETTINGS
@given(problem=problems())
def test_point_inside_is_left_alone(table: str, norm: str, problem: tuple[np.ndarray, np.ndarray, float]) -> None:
    x, v, _ = problem
    eps = 1.001 * oracle.distance(v, x, norm).max() + 1e-6
    np.testing.assert_array_equal(projected(v, x, eps, norm, None), v)
    inside = np.clip(v, 0, 1)
    np.testing.assert_array_equal(projected(inside, x, eps, norm, (0.0, 1.0)), inside)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@SETTINGS
@given(problem=problems())
def test_linf_projection_is_the_clipped_point(
    table: str, bounds: oracle.Bounds, problem: tuple[np.ndarray, np.ndarray, float]
) -> None:
    x, v, eps = problem
    out = projected(v, x, eps, "linf", bounds)
    for i in range(len(x)):
        wanted = oracle.project(v[i].astype(float), x[i].astype(float), eps, "linf", bounds)
        np.testing.assert_allclose(out[i], wanted, rtol=0, atol=rounding(x, v, eps))


@SETTINGS
@given(problem=problems())
def test_l2_projection_is_the_nearest_point(table: str, problem: tuple[np.ndarray, np.ndarray, float]) -> None:
    x, v, eps = problem
    out = projected(v, x, eps, "l2", None)
    for i in range(len(x)):
        wanted = x[i] + oracle.project_l2(v[i].astype(float) - x[i], eps)
        np.testing.assert_allclose(out[i], wanted, rtol=0, atol=rounding(x, v, eps))


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@SETTINGS
@given(problem=problems())
def test_l1_projection_is_the_nearest_point_of_ball_and_box(
    table: str, bounds: oracle.Bounds, problem: tuple[np.ndarray, np.ndarray, float]
) -> None:
    x, v, eps = problem
    out = projected(v, x, eps, "l1", bounds)
    lo, hi = (-np.inf, np.inf) if bounds is None else bounds
    # The threshold is good to the rounding of each coordinate times their number over the free ones.
    tolerance = rounding(x, v, eps) * x.shape[1]
    for i in range(len(x)):
        wanted = oracle.project_l1_box(v[i].astype(float), x[i].astype(float), eps, lo, hi)
        np.testing.assert_allclose(out[i], wanted, rtol=0, atol=tolerance)


@SETTINGS
@given(problem=problems())
def test_l1_projection_meets_the_optimality_conditions(
    table: str, problem: tuple[np.ndarray, np.ndarray, float]
) -> None:
    """KKT: every coordinate is clip(|v - x| - t, 0, room) for one t >= 0; t > 0 only on the sphere."""
    x, v, eps = problem
    out = projected(v, x, eps, "l1", (0.0, 1.0)).astype(float)
    tolerance = rounding(x, v, eps) * x.shape[1]
    for d, wish, at in zip(out - x, v.astype(float) - x, x.astype(float), strict=True):
        assert (d * np.sign(wish) >= 0).all()
        room = np.where(wish > 0, 1.0 - at, at)
        free = (np.abs(d) > tolerance) & (np.abs(d) < room - tolerance)
        full = (np.abs(d) >= room - tolerance) & (np.abs(d) > tolerance)
        gaps = np.abs(wish) - np.abs(d)
        t = gaps[free].mean() if free.any() else None
        if t is not None:
            np.testing.assert_allclose(gaps[free], t, rtol=0, atol=2 * tolerance)
            assert t >= -tolerance
            assert (gaps[full] >= t - 2 * tolerance).all()
            still = np.abs(d) <= tolerance
            at_rest = still & (room > 2 * tolerance)
            assert (np.abs(wish)[at_rest] <= t + 3 * tolerance).all()
            if t > 2 * tolerance:
                assert np.abs(d).sum() >= eps - tolerance * len(d)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
@pytest.mark.parametrize("features", SIZES)
def test_l0_projection_keeps_the_largest_changes(table: str, features: int, count: int) -> None:
    rng = np.random.default_rng(features)
    x = rng.random((4, features)).astype(np.float32)
    v = (x + rng.normal(size=x.shape)).astype(np.float32)
    out = projected(v, x, float(count), "l0", None)
    for i in range(4):
        d = v[i].astype(float) - x[i]
        kept = oracle.project_l0(d, count) != 0
        np.testing.assert_array_equal(out[i], np.where(kept, v[i], x[i]))


def test_l0_projection_of_tied_changes_keeps_no_more_than_the_count(table: str) -> None:
    x = np.zeros((1, 9), np.float32)
    out = projected(np.full((1, 9), 0.5, np.float32), x, 4.0, "l0", None)
    assert np.count_nonzero(out) == 4


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("features", SIZES)
def test_every_row_has_its_own_radius(table: str, norm: str, features: int) -> None:
    rng = np.random.default_rng(features)
    x = rng.random((5, features)).astype(np.float32)
    v = (x + rng.normal(size=x.shape)).astype(np.float32)
    eps = np.array([0.0, 0.01, 0.2, 1.0, 100.0])
    out = projected(v, x, eps, norm, None)
    for i in range(5):
        alone = projected(v[i : i + 1], x[i : i + 1], float(eps[i]), norm, None)
        np.testing.assert_array_equal(out[i], alone[0])
    assert (oracle.distance(out, x, norm) <= eps).all()
    np.testing.assert_array_equal(out[4], v[4])
    np.testing.assert_array_equal(out[0], x[0])


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_projection_reaches_the_sphere(table: str, norm: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((20, 33)).astype(np.float32)
    v = (x + rng.normal(size=x.shape)).astype(np.float32)
    reached = oracle.distance(projected(v, x, 0.3, norm, None), x, norm)
    # What is lost is the rounding of the coordinates towards x, at most an ulp of 4 each.
    assert (reached >= 0.3 - 33 * 2.0**-21).all()


@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 28, 28), (1, 5)])
def test_projection_takes_any_shape(table: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.random(shape).astype(np.float32)
    v = (x + rng.normal(size=shape)).astype(np.float32)
    flat = projected(v.reshape(shape[0], -1), x.reshape(shape[0], -1), 0.5, "l2", (0.0, 1.0))
    np.testing.assert_array_equal(projected(v, x, 0.5, "l2", (0.0, 1.0)).reshape(flat.shape), flat)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_torch_tensor_is_projected_in_place_without_a_copy(table: str, norm: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.random((5, 17)).astype(np.float32)
    v = (x + rng.normal(size=x.shape)).astype(np.float32)
    tensor = torch.from_numpy(v.copy())
    address = tensor.data_ptr()
    eb.ops.project_(tensor, torch.from_numpy(x), eps=1.0, norm=norm, bounds=(0.0, 1.0))
    assert tensor.data_ptr() == address
    np.testing.assert_array_equal(tensor.numpy(), projected(v, x, 1.0, norm, (0.0, 1.0)))


@pytest.mark.parametrize("eps", [0.1, 1e-3, 1e-30, 1e-40, 1e30])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_bound_holds_from_however_far(table: str, norm: str, eps: float) -> None:
    v = (np.random.default_rng(0).normal(size=(20, 784)) * 5e37).astype(np.float32)
    out = projected(v, np.zeros_like(v), eps, norm, None)
    assert (oracle.distance(out, np.zeros_like(v), norm) <= eps).all()


@pytest.mark.parametrize("far", [1e4, 1e10, 1e14, 1e18, 3e38])
def test_l1_projection_of_far_points_is_exact(table: str, far: float) -> None:
    v = np.array([[far, 0, 0, 0], [far, -far, 0, 0]], np.float32)
    out = projected(v, np.zeros_like(v), 1.0, "l1", None)
    np.testing.assert_allclose(out, [[1, 0, 0, 0], [0.5, -0.5, 0, 0]], rtol=4 * U)
    boxed = projected(np.full((1, 2), far, np.float32), np.zeros((1, 2), np.float32), 1.0, "l1", ([0, 0], [0.3, 5]))
    np.testing.assert_allclose(boxed, [[0.3, 0.7]], rtol=4 * U)


def test_the_l1_bound_of_a_wide_row_holds_in_every_order_of_summation() -> None:
    features, eps = 200_000, 1 + 2.0**-23
    # Just over half a rounding of 1 each: summed after the 1, every one of them counts twice.
    small = np.float32(0.5000002 * 2.0**-52)
    x = np.zeros((1, features), np.float32)
    x_adv = np.full_like(x, small)
    x_adv[0, :2] = 1, 2.0**-23 - features * float(small) - 2.0**-36
    eb.ops.project_(x_adv, x, eps=eps, norm="l1")
    assert np.cumsum(x_adv[0].astype(np.float64))[-1] <= eps
