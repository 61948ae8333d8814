"""Randomized smoothing: radii of linear models are known exactly, limits are SciPy's, doubt abstains."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import epsball as eb
from epsball.evaluation import ABSTAIN, Smoothed
from epsball.evaluation.accuracy_interval import binomial_at_most, lower_limit


def halfspace(w: np.ndarray, b: float) -> Any:
    """The logistic model of w x + b."""
    model = eb.models.linear(len(w), 1)
    weight, bias = model.parameters()
    model.load_parameters({weight: w[None].astype(np.float32), bias: np.array([b], np.float32)})
    return model


def random_state() -> np.ndarray:
    """NumPy's global one."""
    return np.array(np.random.get_state()[1])  # noqa: NPY002 - what is promised is not to touch it


@pytest.mark.parametrize("rows", [1, 10, 997, 100_000])
def test_limits_and_tails_are_scipys(rows: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    for right in {0, 1, rows // 2, rows - 1, rows}:
        for miss in (0.001, 0.05):
            wanted = 0.0 if right == 0 else stats.beta.ppf(miss, right, rows - right + 1)
            assert lower_limit(right, rows, miss) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
        assert binomial_at_most(right, rows, 0.5) == pytest.approx(
            stats.binom.cdf(right, rows, 0.5), rel=1e-8, abs=1e-300
        )


def test_a_limit_is_missed_no_more_often_than_it_says() -> None:
    rng = np.random.default_rng(0)
    counts = rng.binomial(50, 0.8, 4000)
    seen, often = np.unique(counts, return_counts=True)
    missed = sum(n for c, n in zip(seen, often, strict=True) if lower_limit(int(c), 50, 0.05) > 0.8) / 4000
    assert missed < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
    assert missed > 0.005  # and it is not simply low


def test_parts_are_certified_as_the_whole_and_progress_is_told_of_every_row() -> None:
    model, x = halfspace(np.array([3.0, 4.0]), -1.0), np.array([[0.6, 0.5], [0.0, 0.0], [0.2, 0.12]], np.float32)
    told: list[Any] = []
    whole = Smoothed(model, 0.5).certify(x, draws=200, progress=lambda *stage: told.append(stage))
    assert told == [("certify", done, 3) for done in range(4)]
    parts = [Smoothed(model, 0.5).certify(x[rows], draws=200, index=rows) for rows in ([0, 1], [2])]
    np.testing.assert_array_equal(np.concatenate([part.predictions for part in parts]), whole.predictions)
    np.testing.assert_array_equal(np.concatenate([part.radius for part in parts]), whole.radius)
    with pytest.raises(TypeError, match="progress: "):
        Smoothed(model).certify(x, progress="bar")  # type: ignore[arg-type]


def test_the_radius_of_a_linear_model_is_nearly_its_distance() -> None:
    """Smoothing leaves a half-space as it is: the certified radius is the distance, less what the sample costs."""
    w, sigma = np.array([3.0, 4.0]), 0.5
    model, x = halfspace(w, -1.0), np.array([[0.6, 0.5], [0.0, 0.0], [0.2, 0.1001]], np.float32)
    distance = np.abs(x @ w - 1) / 5
    found = Smoothed(model, sigma).certify(x, draws=20_000, alpha=0.001)
    assert list(found.predictions) == [1, 0, ABSTAIN]
    assert (found.radius <= distance).all()
    np.testing.assert_allclose(found.radius[:2], distance[:2], rtol=0.1)
    assert found.radius[2] == 0


def test_no_radius_is_above_what_the_votes_can_prove() -> None:
    sure = halfspace(np.array([0.0]), 5.0)
    found = Smoothed(sure, 0.25).certify(np.zeros((2, 1), np.float32), draws=1000, alpha=0.001)
    most = 0.25 * NormalDist().inv_cdf(0.001 ** (1 / 1000))
    np.testing.assert_allclose(found.radius, most, rtol=1e-9)


def test_votes_that_are_nearly_even_abstain() -> None:
    even, odd = halfspace(np.array([1.0]), 0.0), halfspace(np.array([1.0]), 0.1)
    x = np.zeros((4, 1), np.float32)
    assert (Smoothed(even).predict(x, draws=500) == ABSTAIN).all()
    assert (Smoothed(odd).predict(x, draws=2000) == 1).all()
    assert (Smoothed(odd).predict(x, draws=5) == ABSTAIN).all()  # too few votes for alpha


def test_noise_depends_on_seed_and_index_alone() -> None:
    model = halfspace(np.array([1.0, -1.0]), 0.05)
    x = np.full((6, 2), 0.5, np.float32)
    whole = Smoothed(model).certify(x, draws=300)
    part = Smoothed(model).certify(x[2:4], draws=300, index=[2, 3])
    np.testing.assert_array_equal(part.radius, whole.radius[2:4])
    assert len(set(whole.radius)) > 1
    other = Smoothed(model, seed=1).certify(x, draws=300)
    assert (other.radius != whole.radius).any()
    state = random_state()
    Smoothed(model).predict(x, draws=10)
    np.testing.assert_array_equal(random_state(), state)


def test_certified_accuracy_falls_with_the_radius_and_counts_only_what_is_right() -> None:
    w = np.array([3.0, 4.0])
    x = np.random.default_rng(0).uniform(0, 0.5, (40, 2)).astype(np.float32)
    y = (x @ w > 1).astype(np.int64)
    found = Smoothed(halfspace(w, -1.0)).certify(x, draws=1000)
    accuracies = [found.accuracy(y, r) for r in (0.0, 0.05, 0.1, 0.3, 5.0)]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > 0.7
    assert accuracies[-1] == 0
    assert found.accuracy(1 - y) == 0
    assert "at least" in str(found.table(y, [0.1]))


def test_label_sources_are_smoothed_too() -> None:
    source = eb.LabelOracle(lambda x: (x[:, 0] > 0.5).astype(np.int64), classes=2)
    found = Smoothed(source, 0.1).certify(np.array([[0.9], [0.1]], np.float32), draws=100, selection=10)
    assert list(found.predictions) == [1, 0]
    assert source.queries == 220


def test_trained_on_noise_a_model_is_certified_farther(digits: dict[str, np.ndarray]) -> None:
    x, y = digits["x"][:2000].reshape(2000, -1), digits["y"][:2000]
    accuracies = []
    for method in (eb.training.Standard(), eb.training.SmoothingTraining(sigma=0.5)):
        model = eb.models.mlp([784, 64, 10], seed=0)
        eb.fit(model, x, y, method=method, epochs=15)
        found = Smoothed(model, 0.5).certify(digits["xt"].reshape(-1, 784)[:40], draws=500)
        accuracies.append(found.accuracy(digits["yt"][:40], 0.5))
    assert accuracies[1] > accuracies[0] + 0.05


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda m, x: Smoothed("model"), "model"),
        (lambda m, x: Smoothed(m, 0.0), "sigma"),
        (lambda m, x: Smoothed(m, seed=-1), "seed"),
        (lambda m, x: Smoothed(m).predict(x, draws=0), "draws"),
        (lambda m, x: Smoothed(m).predict(x, alpha=1.0), "alpha"),
        (lambda m, x: Smoothed(m).certify(x, selection=0), "selection"),
        (lambda m, x: Smoothed(m).certify(x.astype(int)), "x"),
        (lambda m, x: Smoothed(m).certify(x, index=[1, 2, 3]), "index"),
        (lambda m, x: Smoothed(m).certify(x, draws=10).accuracy([0, 1, 1]), "y"),
    ],
)
def test_bad_arguments_are_named(call: Any, name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{name}: "):
        call(halfspace(np.array([1.0]), 0.0), np.zeros((2, 1), np.float32))
