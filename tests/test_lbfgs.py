"""L-BFGS: as near as SciPy's L-BFGS-B on the same objective, near the minimum of linear models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import epsball as eb
from cases import batch, constant_model, pair, sized
from oracle import Net

LBFGS = eb.attacks.LBFGS
FEATURES, CLASSES, ROWS = 25, 4, 20


def problem(seed: int = 0) -> tuple[Any, Net, NDArray, NDArray]:
    model, net = pair([FEATURES, 16, CLASSES], "tanh", seed, scale=2.0)
    x = batch(ROWS, FEATURES, seed)
    return model, net, x, (net.predict(x) + 1) % CLASSES


def scipy_distances(net: Net, x: NDArray, target: NDArray, constants: list[float]) -> NDArray:
    """The nearest point that reaches its target among the minima of ‖d‖² + c · CE for these constants."""
    optimize = pytest.importorskip("scipy.optimize")
    nearest = np.full(len(x), np.inf)
    for i, t in enumerate(target):
        row = x[i].astype(np.float64)
        for c in constants:

            def objective(at: NDArray, row: NDArray = row, t: int = t, c: float = c) -> tuple[float, NDArray]:
                point, label = at[None], np.array([t])
                z = net.forward(point).logits[0]
                loss = np.logaddexp.reduce(z) - z[t]
                slope = net.gradient(point, label, "cross_entropy").inputs[0]
                return float(((at - row) ** 2).sum() + c * loss), 2 * (at - row) + c * slope

            bounds = [(0.0, 1.0)] * FEATURES
            found = optimize.minimize(objective, row, jac=True, method="L-BFGS-B", bounds=bounds)
            if net.predict(found.x[None])[0] == t:
                nearest[i] = min(nearest[i], float(np.linalg.norm(found.x - row)))
    return nearest


@pytest.mark.parametrize("seed", range(3))
def test_it_comes_as_near_as_scipy_with_the_same_constants(table: str, seed: int) -> None:
    """One constant at a time, ten times larger each: both have the same minima to find."""
    model, net, x, target = problem(seed)
    constants = [1e-2 * 10.0**k for k in range(4)]
    wanted = scipy_distances(net, x, target, constants)
    runs = [
        LBFGS(steps=200, search_steps=1, initial_constant=c, targeted=True).run(model, x, target) for c in constants
    ]
    found = np.min([np.where(r.success, r.distance, np.inf) for r in runs], axis=0)
    assert np.isfinite(wanted).mean() >= 0.5
    # Points on the way count too, so that it may be nearer than the minima.
    assert (found <= wanted * 1.01).mean() >= 0.9
    assert np.isfinite(found).sum() >= np.isfinite(wanted).sum()


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
def test_linear_models_of_two_classes_fall_within_one_percent_of_their_minimum(table: str, bounds: Any) -> None:
    model, net = pair([20, 2])
    x = np.random.default_rng(3).uniform(0.0, 1.0, (sized(50, on_emulator=10), 20)).astype(np.float32)
    y = net.predict(x)
    best = eb.attacks.LinearMinimum("l2", bounds).run(model, x, y)
    run = LBFGS(steps=200, search_steps=20, bounds=bounds).run(model, x, y)
    np.testing.assert_array_equal(run.success, best.success)
    ratio = run.distance[best.success] / best.distance[best.success]
    assert (ratio >= 1 - 2e-3).all()
    assert ratio.max() <= 1.01


def test_features_at_the_ends_of_the_box_take_part(table: str) -> None:
    """Where a change of variables would be flat: x lies in a corner, and so does most of what must move."""
    model, net = pair([FEATURES, 16, CLASSES], "tanh", scale=2.0)
    x = (batch(ROWS, FEATURES) > 0.5).astype(np.float32)
    target = (net.predict(x) + 1) % CLASSES
    run = LBFGS(search_steps=20, targeted=True).run(model, x, target)
    cw = eb.attacks.CarliniWagner(targeted=True, step_size=0.02).run(model, x, target)
    assert run.success.sum() >= cw.success.sum()
    both = run.success & cw.success
    assert np.median(run.distance[both] / cw.distance[both]) <= 1.1


def test_untargeted_rows_aim_at_the_class_that_comes_next(table: str) -> None:
    model, net, x, _ = problem()
    y = net.predict(x)
    aim = eb.attacks.target_labels(model, x, y, "likeliest")
    run = LBFGS().run(model, x, y)
    assert run.success.all()
    np.testing.assert_array_equal(run.success, model.predict(run.x_adv) != y)
    np.testing.assert_array_equal(run.loss, model.loss(run.x_adv, aim))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_success_and_distance_are_those_of_the_point_in_the_callers_dtype(table: str, dtype: type) -> None:
    model, net, x, _ = problem()
    rows, y = x.astype(dtype), np.where(np.arange(ROWS) % 4 == 0, 0, net.predict(x))
    mask = np.arange(FEATURES) % 4 != 0
    for options in ({}, {"mask": mask}, {"bounds": None}, {"bounds": (-0.5, np.linspace(1.0, 2.0, FEATURES))}):
        run = LBFGS(**options).run(model, rows, y)
        x_adv = np.asarray(run.x_adv)
        assert x_adv.dtype == dtype
        np.testing.assert_array_equal(run.success, model.predict(x_adv) != y)
        assert run.success.mean() >= 0.9
        np.testing.assert_allclose(run.distance, np.linalg.norm(x_adv.astype(np.float64) - rows, axis=1), rtol=1e-12)
        lo, hi = options.get("bounds", (0.0, 1.0)) or (-np.inf, np.inf)
        assert ((x_adv >= lo) & (x_adv <= hi)).all()
        if "mask" in options:
            np.testing.assert_array_equal(x_adv[:, ~mask], rows[:, ~mask])
        already = model.predict(rows) != y
        np.testing.assert_array_equal(x_adv[already], rows[already])


def test_one_logit_models_and_those_without_a_gradient(table: str) -> None:
    model, net = pair([FEATURES, 16, 1], "tanh", scale=2.0)
    x = batch(ROWS, FEATURES)
    run = LBFGS().run(model, x, net.predict(x))
    np.testing.assert_array_equal(run.success, model.predict(run.x_adv) != net.predict(x))
    assert run.success.mean() >= 0.9
    still = LBFGS(search_steps=3).run(constant_model(FEATURES, CLASSES), x, np.zeros(ROWS, np.int64))
    assert still.zero_gradient[~still.success].all()
    np.testing.assert_array_equal(still.x_adv, x)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("steps", 0), ("search_steps", 0), ("search_steps", None), ("initial_constant", 0.0), ("norm", "linf")],
)
def test_bad_options_are_named(argument: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=argument):
        LBFGS(**{argument: value})
    model, _, x, _ = problem()
    with pytest.raises(ValueError, match="y: a targeted attack needs"):
        LBFGS(targeted=True)(model, x)


def test_the_constant_is_searched_row_by_row(table: str) -> None:
    """More searches never lose a row, and bring it nearer."""
    model, _, x, target = problem()
    few, many = (LBFGS(search_steps=n, targeted=True).run(model, x, target) for n in (4, 9))
    assert (few.success <= many.success).all()
    assert (many.distance[few.success] <= few.distance[few.success]).all()
    assert (many.distance[few.success] < few.distance[few.success]).any()
