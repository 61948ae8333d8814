"""Kernel machines from support vectors: kernels, one-versus-one votes, gradients, evasion up to known optima."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import SIZES, assert_within, batch, check_loss, labels, sized
from oracle import TINY
from oracle_layers import RBF, Elementwise, Layer, Linear, OneVsOne, Stack, check_slopes

KERNELS = ("linear", "poly", "rbf", "sigmoid")


def machine(classes: int = 3, features: int = 7, each: int = 5, seed: int = 0) -> dict[str, Any]:
    """Random numbers in the shapes of scikit-learn's SVC, classes of different sizes."""
    rng = np.random.default_rng([seed, classes, features, each])
    counts = each + np.arange(classes)
    vectors = rng.uniform(0, 1, (counts.sum(), features)).astype(np.float32).astype(np.float64)
    pairs = classes * (classes - 1) // 2
    return {
        "support_vectors": vectors,
        "dual_coef": rng.normal(size=(classes - 1, len(vectors))),
        "intercept": rng.normal(0, 0.1, pairs),
        "n_support": counts,
    }


def pairwise(m: dict[str, Any]) -> np.ndarray:
    """Coefficients (pairs, S): for the pair (i, j), row j - 1 on the vectors of i and row i on those of j."""
    owner = np.repeat(np.arange(len(m["n_support"])), m["n_support"])
    rows = [
        np.where(owner == i, m["dual_coef"][j - 1], 0.0) + np.where(owner == j, m["dual_coef"][i], 0.0)
        for i, j in combinations(range(len(m["n_support"])), 2)
    ]
    return np.stack(rows)


def float32(a: Any) -> np.ndarray:
    return np.asarray(a, np.float32).astype(np.float64)


def oracle_of(m: dict[str, Any], kernel: str, gamma: float, coef0: float, degree: int) -> Stack:
    """The same machine as the oracle's layers, with the parameters that float32 holds."""
    vectors, classes = m["support_vectors"], len(m["n_support"])
    coefficients = m["dual_coef"] if classes == 2 else pairwise(m)
    bias, many = float32(m["intercept"]), np.ones(len(vectors))
    layers: list[Layer]
    if kernel == "linear":
        layers = [Linear(float32(coefficients @ vectors), bias)]
    elif kernel == "rbf":
        layers = [RBF(vectors, float32(np.sqrt(gamma)) * many), Elementwise("exp")]
    else:
        bend = Elementwise("power", degree) if kernel == "poly" else Elementwise("tanh")
        layers = [Linear(float32(gamma * vectors), float32(coef0) * many), bend]
    if kernel != "linear":
        layers.append(Linear(float32(coefficients), bias))
    if classes > 2:
        layers.append(OneVsOne(classes))
    return Stack(layers, vectors.shape[1])


def both(kernel: str, gamma: float = 0.3, coef0: float = 0.25, degree: int = 3, **sizes: Any) -> tuple[Any, Stack]:
    m = machine(**sizes)
    model = eb.models.kernel_svm(**m, kernel=kernel, gamma=gamma, coef0=coef0, degree=degree)
    return model, oracle_of(m, kernel, gamma, coef0, degree)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("classes", [2, 3, 5, 10])
def test_scores_gradients_and_jacobian_agree(table: str, kernel: str, classes: int) -> None:
    model, net = both(kernel, classes=classes)
    x = batch(40, 7)
    x = x[~net.rows_on_a_kink(x)]
    run = net.forward(x)
    assert_within(model(x), run.logits, run.logit_errors + TINY, "scores")
    wanted, error = net.jacobian(x)
    assert_within(model.jacobian(x), wanted, error + TINY, "Jacobian")
    check_loss(model, net, x, labels(len(x), classes if classes > 2 else 1), "cross_entropy")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", SIZES)
def test_scores_agree_for_odd_sizes(table: str, kernel: str, size: int) -> None:
    for sizes, rows in (({"features": size}, 9), ({"each": size}, 9), ({"classes": min(size, 17) + 2}, 3), ({}, size)):
        model, net = both(kernel, **sizes)
        x = batch(rows, net.features)
        x = x[~net.rows_on_a_kink(x)]
        run = net.forward(x)
        assert_within(model(x), run.logits, run.logit_errors + TINY, "scores")


@pytest.mark.parametrize("degree", [0, 1, 2, 5])
def test_every_degree_agrees(table: str, degree: int) -> None:
    model, net = both("poly", degree=degree)
    x = batch(20, 7)
    check_loss(model, net, x, labels(20, 3), "cross_entropy")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("classes", [2, 4])
def test_gradient_is_the_slope_of_the_loss_where_no_vote_changes(table: str, kernel: str, classes: int) -> None:
    model, net = both(kernel, classes=classes)
    check_slopes(model, net, batch(12, 7), labels(12, classes if classes > 2 else 1), "cross_entropy")


@pytest.mark.parametrize("classes", [2, 3, 5, 17])
def test_votes_are_counted_as_scikit_learn_counts_them(table: str, classes: int) -> None:
    """One vote for a pair's winner, ties for the first; then a third of the squashed sum of decisions."""
    pairs = list(combinations(range(classes), 2))
    model = eb.Sequential([eb.OneVsOne(classes)], input_shape=(len(pairs),))
    x = np.random.default_rng(classes).integers(-2, 3, (50, len(pairs))).astype(np.float32)  # full of ties
    scores = np.asarray(model(x), np.float64)
    for row, got in zip(x, scores, strict=True):
        votes, s = np.zeros(classes), np.zeros(classes)
        for d, (i, j) in zip(row, pairs, strict=True):
            votes[i if d >= 0 else j] += 1
            s[i] += d
            s[j] -= d
        np.testing.assert_allclose(got, votes + s / (3 * (np.abs(s) + 1)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_row_alone_is_the_row_in_its_batch(table: str, kernel: str) -> None:
    model, _ = both(kernel, classes=4, features=33, each=20)
    x, y = batch(40, 33), labels(40, 4)
    z, g = model(x), model.input_gradient(x, y)
    for rows in (slice(0, 1), slice(13, 14), slice(5, 38)):
        np.testing.assert_array_equal(model(x[rows]), z[rows])
        np.testing.assert_array_equal(model.input_gradient(x[rows], y[rows]), g[rows])


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_kernel_leaves_its_buffers(table: str, kernel: str) -> None:
    for sizes in ({"features": 5}, {"features": 17, "each": 3}, {"classes": 5}, {"classes": 2}):
        plain, net = both(kernel, **sizes)
        guarded, _ = both(kernel, **sizes)
        x, y = batch(17, net.features), labels(17, max(net.classes, 2))
        wanted = [plain(x), plain.input_gradient(x, y), eb.pgd(plain, x, y, eps=0.1, steps=2)]
        eb._native.check_guards(True)
        got = [guarded(x), guarded.input_gradient(x, y), eb.pgd(guarded, x, y, eps=0.1, steps=2)]
        eb._native.check_guards(False)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kernel", KERNELS)
def test_round_trip_keeps_every_bit(tmp_path: Path, kernel: str) -> None:
    model, _ = both(kernel)
    model.save(tmp_path / "model.safetensors")
    again = eb.load(tmp_path / "model.safetensors")
    assert again.layers == model.layers
    np.testing.assert_array_equal(again(batch(5, 7)), model(batch(5, 7)))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("classes", [2, 4])
def test_decisions_are_those_of_scikit_learn(table: str, kernel: str, classes: int) -> None:
    svm = pytest.importorskip("sklearn.svm")
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, 120)
    x = rng.normal(size=(120, 6)) + 1.5 * np.eye(6)[y]
    theirs = svm.SVC(kernel=kernel, coef0=0.3, degree=3).fit(x, y)
    model = eb.models.kernel_svm(
        theirs.support_vectors_, theirs.dual_coef_, theirs.intercept_, theirs.n_support_,
        kernel=kernel, gamma=theirs._gamma, coef0=theirs.coef0, degree=theirs.degree,
    )  # fmt: skip
    points = rng.normal(size=(200, 6)).astype(np.float32)
    wanted = theirs.decision_function(points.astype(np.float64)).reshape(200, -1)
    got = np.asarray(model(points), np.float64)
    # Votes of pairs that float32 cannot decide would differ by a whole vote.
    np.testing.assert_allclose(got, wanted, atol=2e-4 * max(1.0, np.abs(wanted).max()))
    best = wanted.argmax(axis=1) if classes > 2 else (wanted[:, 0] > 0).astype(int)
    np.testing.assert_array_equal(model.predict(points), best)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
@pytest.mark.parametrize("classes", [2, 4])
def test_gradients_of_scores_lie_along_those_of_art(kernel: str, classes: int) -> None:
    """ART's is that of the sum of the label's decisions, which a score is an increasing function of between votes.

    Of several classes ART 1.20 takes the wrong row of ``dual_coef_`` for the vectors of the others, which is of no
    account here, where C is so small that all coefficients are C.
    """
    svm = pytest.importorskip("sklearn.svm")
    pytest.importorskip("art")
    from art.estimators.classification import SklearnClassifier

    rng = np.random.default_rng(0)
    y = np.arange(100) % classes
    x = rng.normal(size=(100, 6)) + np.eye(6)[y]
    estimator = svm.SVC(kernel=kernel, C=1e-3, break_ties=True).fit(x, y)
    np.testing.assert_allclose(np.abs(estimator.dual_coef_), 1e-3)
    theirs = SklearnClassifier(estimator).loss_gradient(x, np.eye(classes)[y])
    jacobian = np.asarray(eb.from_sklearn(estimator).jacobian(x.astype(np.float32)), np.float64)
    ours = jacobian[np.arange(100), y] if classes > 2 else jacobian[:, 0] * (2 * y - 1)[:, None]
    cosine = (ours * theirs).sum(axis=1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    np.testing.assert_allclose(cosine, -1, atol=1e-5)  # theirs ascends the loss


# ---- evasion


def ring(kernel: str = "rbf") -> Any:
    """A two-class machine in the plane whose first class is an island around (0.5, 0.5)."""
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    outside = 0.5 + 0.45 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inside = 0.5 + 0.1 * np.array([[1.0, 0.2], [-0.7, 0.8], [0.1, -1.0]])
    vectors = np.concatenate([inside, outside])
    dual = np.concatenate([np.full(3, -1.0), np.linspace(0.3, 0.7, 8)])[None]
    return eb.models.kernel_svm(vectors, dual, [0.1], [3, 8], kernel=kernel, gamma=12.0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_rbf_evasion_in_the_plane_reaches_the_best_of_a_fine_grid(table: str, norm: str) -> None:
    model, eps = ring(), 0.2
    x = np.random.default_rng(0).uniform(0.25, 0.75, (sized(20, on_emulator=6), 2)).astype(np.float32)
    y = np.asarray(model.predict(x))
    assert set(y) == {0, 1}
    steps = np.linspace(-eps, eps, sized(201, on_emulator=41))
    offsets = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    offsets = offsets[oracle.distance(offsets, np.zeros_like(offsets), norm) <= eps]
    run = eb.attacks.PGD(eps=eps, norm=norm, steps=100, step_size=0.01, restarts=10, loss="margin").run(model, x, y)
    for i in range(len(x)):
        grid = np.clip(x[i] + offsets, 0, 1).astype(np.float32)
        best = model.loss(grid, np.full(len(grid), y[i]), loss="margin").max()
        # The grid's own spacing bounds how far it falls short; the attack may be better than the grid.
        slack = (steps[1] - steps[0]) * np.abs(model.jacobian(grid)).sum(axis=(1, 2)).max()
        assert run.loss[i] >= best - slack
        assert run.success[i] or best <= 0


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_linear_evasion_reaches_the_closed_form(table: str, norm: str) -> None:
    model, net = both("linear", classes=2)
    w = net.layers[0].values[0][0]
    x = np.random.default_rng(1).uniform(0, 1, (20, 7)).astype(np.float32)
    y, eps = np.asarray(model.predict(x)), 0.3
    run = eb.attacks.PGD(eps=eps, norm=norm, steps=60, step_size=0.05, bounds=None, loss="margin").run(model, x, y)
    dual_norm = {"linf": np.abs(w).sum(), "l2": np.linalg.norm(w), "l1": np.abs(w).max()}[norm]
    wanted = oracle.loss("margin", net(x), y) + eps * dual_norm
    np.testing.assert_allclose(run.loss, wanted, atol=1e-4)
    exact = eb.linear_exact(model, x, y, eps=eps, norm=norm, bounds=None)
    np.testing.assert_allclose(model.loss(exact, y, loss="margin"), wanted, atol=1e-4)


# ---- errors


def test_bad_arguments_are_named() -> None:
    good = machine()
    changes: list[tuple[str, dict[str, Any]]] = [
        ("support_vectors", {"support_vectors": good["support_vectors"][0]}),
        ("support_vectors", {"support_vectors": good["support_vectors"] * np.nan}),
        ("support_vectors", {"support_vectors": good["support_vectors"].astype(str)}),
        ("dual_coef", {"dual_coef": good["dual_coef"][:1]}),
        ("dual_coef", {"dual_coef": good["dual_coef"][:, 1:]}),
        ("intercept", {"intercept": good["intercept"][1:]}),
        ("n_support", {"n_support": good["n_support"][1:]}),
        ("n_support", {"n_support": [len(good["support_vectors"])]}),
        ("n_support", {"n_support": good["n_support"] + 0.5}),
        ("kernel", {"kernel": "cosine"}),
        ("kernel", {"kernel": None}),
        ("gamma", {"gamma": -1.0}),
        ("gamma", {"gamma": "scale"}),
        ("coef0", {"coef0": np.inf}),
        ("degree", {"degree": 2.5}),
        ("degree", {"degree": -1}),
    ]
    for argument, change in changes:
        with pytest.raises((ValueError, TypeError), match=argument):
            eb.models.kernel_svm(**{**good, **change})
    for bad in (1, 2.0, "3"):
        with pytest.raises((ValueError, TypeError), match="classes"):
            eb.OneVsOne(bad)
    with pytest.raises(ValueError, match="3 pairs"):
        eb.Sequential([eb.OneVsOne(3)], input_shape=(4,))
