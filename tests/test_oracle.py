"""The oracle is itself right: central differences, brute force and a general-purpose solver agree with it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import oracle
from oracle import ACTIVATIONS, NORMS, Net, random_net

LOSSES = ("cross_entropy", "margin", "squared_error", "hinge", "crammer_singer")
H = 1e-5  # central differences in float64: truncation H^2 = 1e-10, rounding 1e-16 / H = 1e-11
CLOSE = 1e-8


def central(f, x: np.ndarray) -> np.ndarray:
    """Derivative of f: (n,) -> scalar or array, one coordinate at a time; the coordinate comes last."""
    columns = []
    for i in range(x.size):
        e = np.zeros_like(x)
        e.flat[i] = H
        columns.append((f(x + e) - f(x - e)) / (2 * H))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slope_is_the_derivative_of_the_activation(name: str) -> None:
    a = np.linspace(-6, 6, 101) + 1e-3  # away from the kink at 0
    difference = (oracle.activate(name, a + H) - oracle.activate(name, a - H)) / (2 * H)
    np.testing.assert_allclose(oracle.slope(name, a), difference, atol=CLOSE)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_curvature_bounds_the_second_derivative(name: str) -> None:
    a = np.linspace(-6, 6, 2001) + 1e-3
    second = (oracle.slope(name, a + H) - oracle.slope(name, a - H)) / (2 * H)
    assert np.abs(second).max() <= oracle.CURVATURE[name] + CLOSE


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 2, 3, 10])
def test_loss_gradient_is_the_derivative_of_the_loss(name: str, classes: int) -> None:
    rng = np.random.default_rng(classes)
    z = rng.normal(size=(6, classes))
    y = rng.integers(0, max(classes, 2), 6)
    g = oracle.loss_gradient(name, z, y)
    for i in range(len(z)):
        wanted = central(lambda row, i=i: oracle.loss(name, row[None], y[i : i + 1])[0], z[i])
        np.testing.assert_allclose(g[i], wanted, atol=CLOSE)


@pytest.mark.parametrize("name", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("classes", [1, 2, 10])
def test_loss_gradient_with_soft_labels_is_the_derivative(name: str, classes: int) -> None:
    rng = np.random.default_rng(classes)
    z = rng.normal(size=(4, classes))
    t = rng.dirichlet(np.ones(classes), 4) if classes > 1 else rng.random((4, 1))
    for i in range(len(z)):
        wanted = central(lambda row, i=i: oracle.loss(name, row[None], t[i : i + 1])[0], z[i])
        np.testing.assert_allclose(oracle.loss_gradient(name, z, t)[i], wanted, atol=CLOSE)


@pytest.mark.parametrize("margin", [20.0, 50.0, 80.0])
def test_true_class_derivative_is_the_sum_of_the_others(margin: float) -> None:
    z = np.array([[margin, 0.0, -1.0]])
    g = oracle.loss_gradient("cross_entropy", z, np.array([0]))[0]
    others = math.exp(-margin) + math.exp(-margin - 1)
    assert g[0] == pytest.approx(-others / (1 + others), rel=1e-12)


def test_one_hot_soft_labels_equal_hard_labels() -> None:
    z, y = np.random.default_rng(0).normal(size=(5, 4)), np.array([0, 1, 2, 3, 0])
    for f in (oracle.loss, oracle.loss_gradient):
        soft = f("cross_entropy", z, np.eye(4)[y])
        np.testing.assert_allclose(soft, f("cross_entropy", z, y), atol=1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [[4, 3], [4, 1], [5, 7, 3], [3, 5, 2, 1]])
def test_network_gradients_are_the_derivatives(sizes: list[int], activation: str) -> None:
    net = random_net(sizes, activation, seed=3)
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 1, (3, sizes[0])), rng.integers(0, max(sizes[-1], 2), 3)
    back = net.gradient(x, y)
    jacobian, _ = net.jacobian(x)
    for i in range(len(x)):
        row = y[i : i + 1]
        wanted = central(lambda v, row=row: net.loss(v[None], row)[0], x[i])
        np.testing.assert_allclose(back.inputs[i], wanted, atol=CLOSE)
        np.testing.assert_allclose(jacobian[i], central(lambda v: net(v[None])[0], x[i]), atol=CLOSE)
    for layer in range(len(net.weights)):
        for values, grads in ((net.weights, back.weights), (net.biases, back.biases)):
            original = values[layer]

            def total(v: np.ndarray, values=values, layer=layer, original=original) -> float:
                values[layer] = v.reshape(original.shape)
                result = net.loss(x, y).sum()
                values[layer] = original
                return result

            wanted = central(total, original.ravel()).reshape(original.shape)
            np.testing.assert_allclose(grads[layer], wanted, atol=10 * CLOSE)


def float32_forward(net: Net, x: np.ndarray) -> np.ndarray:
    """The same net computed naively in float32."""
    h = x.astype(np.float32)
    for layer, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        h = h @ w.T.astype(np.float32) + b.astype(np.float32)
        if layer < len(net.weights) - 1:
            h = oracle.activate(net.activation, h.astype(np.float64)).astype(np.float32)
    return h.astype(np.float64)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rounding_bound_covers_a_float32_pass_and_is_not_vacuous(activation: str) -> None:
    net = random_net([97, 33, 17, 10], activation)
    x = np.random.default_rng(0).uniform(0, 1, (50, 97)).astype(np.float32)
    run = net.forward(x)
    error = np.abs(float32_forward(net, x) - run.logits)
    assert (error <= run.logit_errors).all()
    assert error.max() > 0
    assert run.logit_errors.max() < 2e-3 * max(1.0, np.abs(run.logits).max())  # a wrong term shows


# ---- projections


def test_l2_projection_matches_the_formula() -> None:
    assert oracle.project_l2(np.array([3.0, 4.0]), 1.0) == pytest.approx([0.6, 0.8])
    assert oracle.project_l2(np.array([0.3, 0.4]), 1.0) == pytest.approx([0.3, 0.4])


@pytest.mark.parametrize("seed", range(20))
def test_l1_projection_equals_bisection(seed: int) -> None:
    rng = np.random.default_rng(seed)
    d = rng.normal(size=rng.integers(1, 30))
    eps = rng.uniform(0.01, 1.5) * np.abs(d).sum()
    wide = oracle.project_l1_box(d, np.zeros_like(d), eps, -np.inf, np.inf)
    np.testing.assert_allclose(oracle.project_l1(d, eps), wide, atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_l1_box_projection_equals_a_general_solver(seed: int) -> None:
    minimize = pytest.importorskip("scipy.optimize").minimize
    rng = np.random.default_rng(seed)
    n = 5
    x, v = rng.uniform(0, 1, n), rng.normal(0.5, 1.0, n)
    eps = rng.uniform(0.1, 1.2)
    mine = oracle.project_l1_box(v, x, eps, 0.0, 1.0)
    # Split d = p - q with p, q >= 0, which makes the L1 ball linear and the problem a smooth QP.
    result = minimize(
        lambda s: 0.5 * ((x + s[:n] - s[n:] - v) ** 2).sum(),
        np.zeros(2 * n),
        jac=lambda s: np.concatenate([x + s[:n] - s[n:] - v, -(x + s[:n] - s[n:] - v)]),
        bounds=[(0, 1 - a) for a in x] + [(0, a) for a in x],
        constraints={
            "type": "ineq",
            "fun": lambda s: eps - s.sum(),
            "jac": lambda s: -np.ones(2 * n),
        },
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert np.abs(mine - x).sum() <= eps + 1e-12
    np.testing.assert_allclose(mine, x + result.x[:n] - result.x[n:], atol=2e-6)  # SLSQP's accuracy


def test_l0_projection_is_the_best_of_all_supports() -> None:
    d = np.random.default_rng(0).normal(size=6)
    for count in range(7):
        best = min(
            sum(d[i] ** 2 for i in range(6) if i not in kept) for kept in itertools.combinations(range(6), count)
        )
        assert ((oracle.project_l0(d, count) - d) ** 2).sum() == pytest.approx(best)


# ---- steps and exact attacks


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(5))
def test_steepest_step_beats_random_steps(norm: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    g, at = rng.normal(size=4), np.full(4, 0.5)
    d = oracle.steepest(g, at, 0.3, norm, (0.0, 1.0))
    assert oracle.distance(d[None], np.zeros((1, 4)), norm)[0] <= 0.3 + 1e-12
    others = rng.normal(size=(2000, 4))
    others *= 0.3 / np.array([oracle.distance(o[None], np.zeros((1, 4)), norm)[0] for o in others])[:, None]
    assert (others @ g).max() <= g @ d + 1e-12


def test_l1_step_fills_the_room_of_the_largest_gradient_first() -> None:
    d = oracle.steepest(np.array([3.0, -2.0, 1.0]), np.array([0.9, 0.2, 0.5]), 0.5, "l1", (0.0, 1.0))
    np.testing.assert_allclose(d, [0.1, -0.2, 0.2])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
def test_worst_step_of_a_linear_function_beats_a_grid(norm: str, bounds: oracle.Bounds) -> None:
    rng = np.random.default_rng(5)
    grid = np.array(list(itertools.product(np.linspace(-0.4, 0.4, 41), repeat=3)))
    size = oracle.distance(grid, np.zeros_like(grid), norm)
    for _ in range(10):
        w, x = rng.normal(size=3), rng.uniform(0, 1, 3)
        d = oracle.worst_step(w, x, 0.4, norm, bounds)
        assert oracle.distance((x + d)[None], x[None], norm)[0] <= 0.4 + 1e-9
        feasible = size <= 0.4 + 1e-12
        if bounds is not None:
            assert ((x + d >= 0) & (x + d <= 1)).all()
            feasible &= ((x + grid >= 0) & (x + grid <= 1)).all(axis=1)
        best = (grid[feasible] @ w).max()
        assert best <= w @ d + 1e-12
        assert w @ d <= best + 0.02 * np.abs(w).sum()  # one grid cell


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("targeted", [False, True])
def test_pgd_stays_in_the_ball_and_prefers_misclassified_points(norm: str, targeted: bool) -> None:
    net = random_net([7, 9, 4], "tanh", scale=3.0)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, (12, 7)), rng.integers(0, 4, 12)
    run = oracle.pgd(net, x, y, 0.5, norm, steps=6, step_size=0.4, targeted=targeted)
    assert (oracle.distance(run.x_adv, x, norm) <= 0.5 + 1e-12).all()
    assert ((run.x_adv >= 0) & (run.x_adv <= 1)).all()
    hit = (net.predict(run.x_adv) == y) if targeted else (net.predict(run.x_adv) != y)
    assert (hit == run.success).all()
    extreme = run.trace.min(axis=1) if targeted else run.trace.max(axis=1)
    np.testing.assert_array_equal(run.loss[~run.success], extreme[~run.success])


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_on_a_two_class_linear_model_reaches_the_exact_worst_case(norm: str) -> None:
    net = random_net([6, 2], seed=1)
    x, y = np.random.default_rng(0).uniform(0.4, 0.6, (5, 6)), np.array([0, 1, 0, 1, 0])
    run = oracle.pgd(net, x, y, 0.1, norm, steps=5, step_size=0.1)
    exact = oracle.worst_margin(net, x, y, 0.1, norm, (0.0, 1.0))
    np.testing.assert_allclose(oracle.loss("margin", net(run.x_adv), y), exact, atol=1e-12)
