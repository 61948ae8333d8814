"""Nearest neighbours as a label source, and the softened scores that stand in where a gradient is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import use_threads
from epsball.sources import KNN, SoftenedKNN


def examples(count: int, features: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, count, features])
    return rng.normal(size=(count, features)), rng.integers(0, classes, count)


def oracle(points: np.ndarray, labels: np.ndarray, k: int, weights: str, x: np.ndarray, classes: int) -> np.ndarray:
    """One row at a time, sums in the order promised."""
    out = []
    for row in x.astype(np.float64):
        distance = np.zeros(len(points))
        for f in range(points.shape[1]):
            distance = distance + (row[f] - points[:, f]) ** 2
        nearest = np.lexsort((np.arange(len(points)), distance))[:k]
        votes = np.zeros(classes)
        for p in nearest:
            if weights == "uniform":
                votes[labels[p]] += 1.0
            elif distance[nearest[0]] == 0:
                votes[labels[p]] += distance[p] == 0
            else:
                votes[labels[p]] += 1 / np.sqrt(distance[p])
        out.append(votes.argmax())
    return np.array(out)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize(("count", "features", "k"), [(1, 1, 1), (5, 3, 5), (63, 2, 4), (64, 7, 5), (200, 17, 9)])
def test_votes_are_those_of_a_plain_loop(count: int, features: int, k: int, weights: str) -> None:
    points, labels = examples(count, features, 4)
    x = np.concatenate([examples(150, features, 4, seed=1)[0], points])
    found = KNN(points, labels, k, weights, classes=4).predict(x)
    np.testing.assert_array_equal(found, oracle(points, labels, k, weights, x, 4))


PLACES: dict[str, tuple[float, float]] = {
    "near the origin": (0.0, 1.0),
    "far from the origin": (1e6, 1e-3),
    "too close for float32": (1.0, 1e-9),
    "tiny": (0.0, 1e-25),
    "large": (0.0, 1e17),
    "products overflow": (0.0, 1e25),
    "as large as may be": (0.0, 3e37),
}


@pytest.mark.parametrize(("offset", "scale"), PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize(("count", "features"), [(255, 40), (256, 1), (257, 3), (600, 17)])
def test_votes_are_exact_wherever_the_points_lie(
    table: str, count: int, features: int, offset: float, scale: float
) -> None:
    points, labels = examples(count, features, 4)
    x = offset + scale * np.concatenate([examples(130, features, 4, seed=1)[0], points[:20], 30 * points[:5]])
    x = np.clip(x, -3.4e38, 3.4e38)
    points = offset + scale * points
    found = KNN(points, labels, 5, "distance").predict(x)
    np.testing.assert_array_equal(found, oracle(points, labels, 5, "distance", x, 4))


def test_a_row_far_out_does_not_disturb_the_others(table: str) -> None:
    points, labels = examples(300, 6, 4)
    x = examples(70, 6, 4, seed=1)[0]
    x[::7] *= 1e30
    np.testing.assert_array_equal(KNN(points, labels).predict(x), oracle(points, labels, 5, "uniform", x, 4))


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_of_points_equally_far_the_first_is_nearer(k: int, weights: str) -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.integers(0, 3, (100, 3)).astype(float), rng.integers(0, 3, 100)  # many of them coincide
    x = rng.integers(0, 5, (200, 3)) / 2
    found = KNN(points, labels, k, weights).predict(x)
    np.testing.assert_array_equal(found, oracle(points, labels, k, weights, x, 3))


def test_float64_points_a_last_bit_apart_are_told_apart() -> None:
    x = np.zeros((1, 1))
    far, near = np.nextafter(1.0, 2.0), 1.0
    assert KNN([[far], [-near]], [0, 1], k=1).predict(x) == [1]
    assert KNN([[near], [-far]], [0, 1], k=1).predict(x) == [0]
    assert KNN([[near], [-near]], [0, 1], k=1).predict(x) == [0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_dtype_and_shape_is_read(dtype: type) -> None:
    points, labels = examples(90, 6, 3)
    x = examples(50, 6, 3, seed=1)[0].astype(dtype)
    found = KNN(points.reshape(90, 2, 3), labels).predict(x.reshape(50, 2, 3))
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, oracle(points, labels, 5, "uniform", x, 3))
    np.testing.assert_array_equal(KNN(points, labels).predict(x[:0]), [])


def test_results_are_the_same_for_every_number_of_threads_and_batch() -> None:
    points, labels = examples(300, 20, 5)
    x = examples(400, 20, 5, seed=1)[0]
    source = KNN(points, labels, 7, "distance")
    whole = source.predict(x)
    use_threads(3)
    np.testing.assert_array_equal(source.predict(x), whole)
    np.testing.assert_array_equal([source.predict(row[None])[0] for row in x], whole)


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree", "brute", "auto"])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("k", [1, 4, 15])
def test_predictions_are_scikit_learns(k: int, weights: str, algorithm: str) -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    points, labels = examples(500, 6, 4)
    names = np.array(["a", "b", "c", "d"])
    estimator = neighbors.KNeighborsClassifier(k, weights=weights, algorithm=algorithm).fit(points, names[labels])
    source = eb.from_sklearn(estimator)
    x = np.concatenate([examples(1500, 6, 4, seed=1)[0], points])
    np.testing.assert_array_equal(names[source.predict(x)], estimator.predict(x))


def test_points_a_last_bit_from_equally_far_are_told_apart_as_a_tree_of_scikit_learns_does() -> None:
    """Queries half way between two points; scikit-learn's brute force rounds such distances, its trees do not."""
    neighbors = pytest.importorskip("sklearn.neighbors")
    points, labels = examples(300, 3, 3)
    estimator = neighbors.KNeighborsClassifier(1, algorithm="kd_tree").fit(points, labels)
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 300, (20000, 2))
    x = 0.5 * (points[pairs[:, 0]] + points[pairs[:, 1]])
    distance, _ = estimator.kneighbors(x, 2)
    x = x[distance[:, 1] - distance[:, 0] < 1e-14]
    distance, _ = estimator.kneighbors(x, 2)
    apart = distance[:, 0] != distance[:, 1]
    assert len(x) > 200
    assert 20 < apart.sum() < len(x)  # both near-ties and exact ones
    source = eb.from_sklearn(estimator)
    np.testing.assert_array_equal(source.predict(x[apart]), estimator.predict(x[apart]))


BAD: list[tuple[str, Any]] = [
    ("points", lambda: KNN(np.zeros((0, 2)), [])),
    ("points", lambda: KNN(np.zeros(3), [0, 1, 2])),
    ("points", lambda: KNN([[np.nan]], [0], k=1)),
    ("points", lambda: SoftenedKNN([["a"]], [0])),
    ("labels", lambda: KNN(np.zeros((2, 2)), [0])),
    ("labels", lambda: KNN(np.zeros((2, 2)), [0.0, 1.0])),
    ("labels", lambda: KNN(np.zeros((2, 2)), [0, -1])),
    ("labels", lambda: KNN(np.zeros((2, 2)), [0, 5], classes=3)),
    ("labels", lambda: SoftenedKNN(np.zeros((2, 2)), [0, 2])),
    ("k", lambda: KNN(np.zeros((2, 2)), [0, 1], k=3)),
    ("weights", lambda: KNN(np.zeros((2, 2)), [0, 1], k=1, weights="cubic")),
    ("temperature", lambda: SoftenedKNN(np.zeros((2, 2)), [0, 1], temperature=0.0)),
    ("x", lambda: KNN(np.zeros((2, 2)), [0, 1], k=1).predict(np.zeros((3, 3)))),
    ("x", lambda: KNN(np.zeros((2, 2)), [0, 1], k=1).predict(np.full((3, 2), np.inf))),
    ("x", lambda: SoftenedKNN(np.zeros((2, 2)), [0, 1])(np.zeros((3, 3)))),
    ("x", lambda: SoftenedKNN(np.zeros((2, 2)), [0, 1])(np.full((3, 2), np.nan))),
]


@pytest.mark.parametrize(("argument", "call"), BAD)
def test_bad_arguments_are_named(argument: str, call: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}:"):
        call()


# ---- softened


def soft_scores(points: np.ndarray, labels: np.ndarray, t: float, x: np.ndarray) -> np.ndarray:
    d = ((x[:, None] - points[None]) ** 2).sum(axis=2)
    return np.stack([np.logaddexp.reduce(-d[:, labels == k] / t, axis=1) for k in range(labels.max() + 1)], axis=1)


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("temperature", [1e-2, 1.0, 50.0])
def test_softened_scores_and_gradients_are_those_of_a_plain_sum(temperature: float, offset: float) -> None:
    points, labels = examples(80, 5, 3)
    points += offset
    soft = SoftenedKNN(points, labels, temperature)
    x = examples(1100, 5, 3, seed=1)[0] + offset  # more than one block
    wanted = soft_scores(points, labels, temperature, x)
    np.testing.assert_allclose(soft.logits(x), wanted, rtol=3e-7, atol=1e-7)
    weights = np.random.default_rng(0).normal(size=(len(x), 3))
    gradient = soft.vjp(x)[1](weights)
    h = 1e-6 * np.sqrt(temperature)
    for f in range(5):
        up, down = x.copy(), x.copy()
        up[:, f] += h
        down[:, f] -= h
        slope = soft_scores(points, labels, temperature, up) - soft_scores(points, labels, temperature, down)
        slope = (slope * weights).sum(axis=1) / (up[:, f] - down[:, f])
        np.testing.assert_allclose(gradient[:, f], slope, rtol=0, atol=1e-4 * np.abs(slope).max())


def test_a_cold_softened_knn_predicts_as_one_nearest_neighbour() -> None:
    points, labels = examples(200, 6, 4)
    x = examples(500, 6, 4, seed=1)[0]
    np.testing.assert_array_equal(SoftenedKNN(points, labels, 1e-4).predict(x), KNN(points, labels, k=1).predict(x))


def test_ascending_softened_scores_fools_the_exact_vote() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    points = rng.normal(size=(200, 5)) + 2.0 * labels[:, None]
    vote, soft = KNN(points, labels), SoftenedKNN(points, labels, 2.0)
    x = points + 0.1 * rng.normal(size=points.shape)
    toward_other = np.where(np.eye(2)[labels] > 0, -1.0, 1.0)
    x_adv = x.copy()
    for _ in range(10):
        x_adv = np.clip(x_adv + 0.3 * np.sign(soft.vjp(x_adv)[1](toward_other)), x - 1.5, x + 1.5)
    assert (vote.predict(x) == labels).mean() > 0.95
    assert (vote.predict(x_adv) == labels).mean() < 0.3
