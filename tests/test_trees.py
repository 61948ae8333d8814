"""Trees as label sources: scikit-learn's predictions exactly, also where inputs equal thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import use_threads
from epsball.sources import Tree, Trees

STUMP = Tree(
    feature=np.array([0, -1, -1]),
    threshold=np.array([0.5, 0, 0]),
    left=np.array([1, 0, 0]),
    right=np.array([2, 0, 0]),
    value=np.array([[0, 0], [1, 0], [0, 1.0]]),
)


# ---- without scikit-learn


def test_a_row_goes_left_where_its_feature_is_at_most_the_threshold() -> None:
    x = np.array([[0.0], [0.5], [np.nextafter(0.5, 1)], [1.0]])
    np.testing.assert_array_equal(Trees([STUMP], 1, [0.0, 0.0], rounds_inputs=False).predict(x), [0, 0, 1, 1])
    np.testing.assert_array_equal(Trees([STUMP], 1, [0.0, 0.0]).predict(x), [0, 0, 0, 1])  # float32 rounds it to 0.5
    as_float = np.nextafter(np.float32(0.5), np.float32(1))
    np.testing.assert_array_equal(Trees([STUMP], 1, [0.0, 0.0]).predict(np.array([[as_float]])), [1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_dtype_and_shape_is_read(dtype: type) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((300, 2, 3)).astype(dtype)
    stump = Tree(np.array([4, -1, -1]), STUMP.threshold, STUMP.left, STUMP.right, STUMP.value)
    found = Trees([stump], 6, [0.0, 0.0]).predict(x)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, x[:, 1, 1] > 0.5)
    np.testing.assert_array_equal(Trees([stump], 6, [0.0, 0.0]).predict(x[:0]), [])


def test_of_equal_scores_the_first_class_wins_and_a_single_score_decides_by_its_sign() -> None:
    x = np.zeros((1, 1), np.float32)
    level = Tree(np.array([-1]), np.zeros(1), np.zeros(1, int), np.zeros(1, int), np.array([[1.0, 1.0]]))
    assert Trees([level], 1, [0.0, 0.0]).predict(x) == [0]
    one = Tree(np.array([-1]), np.zeros(1), np.zeros(1, int), np.zeros(1, int), np.array([[1.0]]))
    assert Trees([one], 1, [-1.0], decision="positive").predict(x) == [0]
    assert Trees([one], 1, [-1.0], decision="not_negative").predict(x) == [1]
    assert Trees([one], 1, [-1.0], scale=1.5, decision="positive").predict(x) == [1]


def test_results_are_the_same_for_every_number_of_threads_and_batch() -> None:
    rng = np.random.default_rng(0)
    trees = [random_tree(rng, 5, 3) for _ in range(20)]
    source = Trees(trees, 5, np.zeros(3), mean=True)
    x = rng.random((1000, 5)).astype(np.float32)
    whole = source.predict(x)
    assert len(set(whole.tolist())) == 3
    use_threads(3)
    np.testing.assert_array_equal(source.predict(x), whole)
    np.testing.assert_array_equal([source.predict(row[None])[0] for row in x], whole)


def random_tree(rng: np.random.Generator, features: int, width: int, depth: int = 4) -> Tree:
    """A full binary tree with random splits."""
    inner, count = 2**depth - 1, 2 ** (depth + 1) - 1
    at = np.arange(count)
    return Tree(
        feature=np.where(at < inner, rng.integers(0, features, count), -1),
        threshold=rng.random(count),
        left=np.where(at < inner, 2 * at + 1, 0),
        right=np.where(at < inner, 2 * at + 2, 0),
        value=rng.dirichlet(np.ones(width), count),
    )


def test_a_forest_agrees_with_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    trees = [random_tree(rng, 4, 3) for _ in range(7)]
    x = rng.random((100, 4)).astype(np.float32)
    wanted = []
    for row in x:
        score = np.zeros(3)
        for t in trees:
            at = 0
            while t.feature[at] >= 0:
                at = t.left[at] if float(row[t.feature[at]]) <= t.threshold[at] else t.right[at]
            score += t.value[at]
        wanted.append((score / 7).argmax())
    np.testing.assert_array_equal(Trees(trees, 4, np.zeros(3), mean=True).predict(x), wanted)


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("trees", lambda: Trees([], 1, [0.0, 0.0])),
        ("trees", lambda: Trees(["oak"], 1, [0.0, 0.0])),
        ("trees", lambda: Trees([Tree(np.array([3, -1, -1]), *fields(STUMP)[1:])], 2, [0.0, 0.0])),
        ("trees", lambda: Trees([Tree(*fields(STUMP)[:2], np.zeros(3, int), *fields(STUMP)[3:])], 1, [0, 0])),
        ("trees", lambda: Trees([Tree(*fields(STUMP)[:2], np.full(3, 9), *fields(STUMP)[3:])], 1, [0, 0])),
        ("trees", lambda: Trees([Tree(*fields(STUMP)[:4], np.ones((3, 5)))], 1, [0.0, 0.0])),
        ("trees", lambda: Trees([Tree(*fields(STUMP)[:4], np.full((3, 2), np.nan))], 1, [0.0, 0.0])),
        ("trees", lambda: Trees([Tree(*fields(STUMP)[:4], np.ones((2, 2)))], 1, [0.0, 0.0])),
        ("features", lambda: Trees([STUMP], 0, [0.0, 0.0])),
        ("start", lambda: Trees([STUMP], 1, [])),
        ("start", lambda: Trees([STUMP], 1, [0.0, 0.0], decision="positive")),
        ("decision", lambda: Trees([STUMP], 1, [0.0, 0.0], decision="coin")),
        ("columns", lambda: Trees([STUMP], 1, [0.0, 0.0], columns=[1])),
        ("scale", lambda: Trees([STUMP], 1, [0.0, 0.0], scale=np.nan)),
        ("mean", lambda: Trees([STUMP], 1, [0.0, 0.0], mean=1)),
        ("x", lambda: Trees([STUMP], 1, [0.0, 0.0]).predict(np.zeros((2, 2)))),
        ("x", lambda: Trees([STUMP], 1, [0.0, 0.0]).predict(np.full((2, 1), np.nan))),
        ("x", lambda: Trees([STUMP], 1, [0.0, 0.0]).predict(np.zeros((2, 1), int))),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(argument: str, make: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b"):
        make()


def fields(t: Tree) -> tuple[Any, ...]:
    return t.feature, t.threshold, t.left, t.right, t.value


# ---- scikit-learn's


def classifiers() -> dict[str, Any]:
    from sklearn import ensemble, tree

    return {
        "tree": tree.DecisionTreeClassifier(random_state=0),
        "best-first": tree.DecisionTreeClassifier(max_leaf_nodes=20, random_state=0),
        "extra-tree": tree.ExtraTreeClassifier(random_state=0),
        "forest": ensemble.RandomForestClassifier(25, random_state=0),
        "shallow-forest": ensemble.RandomForestClassifier(10, max_depth=3, random_state=0),
        "extra-trees": ensemble.ExtraTreesClassifier(25, random_state=0),
        "boosting": ensemble.GradientBoostingClassifier(n_estimators=20, random_state=0),
        "boosting-zero": ensemble.GradientBoostingClassifier(n_estimators=20, init="zero", random_state=0),
        "histogram": ensemble.HistGradientBoostingClassifier(max_iter=20, random_state=0),
    }


def grid(classes: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Values on a coarse grid, so that many rows share a leaf, a vote or a score."""
    rng = np.random.default_rng(classes)
    x = (rng.integers(0, 8, (rows, 5)) / 7).astype(np.float32)
    y = ((x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(0, 0.3, rows)) * classes / 2).astype(int).clip(0, classes - 1)
    return x, y


def thresholds(estimator: Any) -> np.ndarray:
    """All thresholds of an estimator, by feature or not: what inputs are to come close to."""
    if hasattr(estimator, "_predictors"):
        return np.concatenate([p.nodes["num_threshold"] for stage in estimator._predictors for p in stage])
    trees = np.ravel(getattr(estimator, "estimators_", [estimator]))
    return np.concatenate([t.tree_.threshold[t.tree_.children_left >= 0] for t in trees])


NAMES = (
    "tree", "best-first", "extra-tree", "forest", "shallow-forest", "extra-trees", "boosting", "boosting-zero",
    "histogram",
)  # fmt: skip


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_scikit_learns(name: str, classes: int) -> None:
    pytest.importorskip("sklearn")
    x, y = grid(classes)
    words = np.array([f"class {k}" for k in range(classes)])
    estimator = classifiers()[name].fit(x, words[y])
    source = eb.from_sklearn(estimator)
    assert (source.classes, source.features) == (classes, 5)
    rng = np.random.default_rng(0)
    split = thresholds(estimator)
    close = rng.choice(split, (3000, 5))
    for points in (x, rng.random((3000, 5)), close, np.nextafter(close, 2), np.nextafter(close, -2),
                   close.astype(np.float32), np.nextafter(close.astype(np.float32), np.float32(2)),
                   np.nextafter(close.astype(np.float32), np.float32(-2))):  # fmt: skip
        wanted = estimator.predict(points)
        np.testing.assert_array_equal(words[source.predict(points)], wanted)
    assert len(set(wanted)) > 1


def test_a_boosted_score_of_exactly_zero_is_decided_as_scikit_learn_decides() -> None:
    pytest.importorskip("sklearn")
    from sklearn import ensemble

    x, y = np.zeros((40, 1), np.float32), np.arange(40) % 2  # nothing to split: every score stays where it starts
    for kind in (
        ensemble.GradientBoostingClassifier(n_estimators=2),
        ensemble.HistGradientBoostingClassifier(max_iter=2),
    ):
        estimator = kind.fit(x, y)
        np.testing.assert_array_equal(eb.from_sklearn(estimator).predict(x), estimator.predict(x))


def test_weighted_classes_keep_their_probabilities() -> None:
    pytest.importorskip("sklearn")
    from sklearn import ensemble

    x, y = grid(3)
    estimator = ensemble.RandomForestClassifier(7, max_depth=3, class_weight="balanced", random_state=0).fit(x, y)
    points = np.random.default_rng(0).random((2000, 5)).astype(np.float32)
    np.testing.assert_array_equal(eb.from_sklearn(estimator).predict(points), estimator.predict(points))
