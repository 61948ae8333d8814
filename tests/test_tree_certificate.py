"""TreeCertificate: exact for one tree, a lower bound for sums of them, and below every attack."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from epsball.evaluation import TreeCertificate
from epsball.sources import Trees
from test_tree_minimum import CLASSES, FEATURES, random_tree, trees

RNG = np.random.default_rng(0)
X = RNG.random((200, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bounds", [(0.0, 1.0), None], ids=["box", "free"])
def test_of_one_tree_just_the_rows_are_certified_whose_nearest_other_leaf_is_farther_than_eps(
    seed: int, bounds: tuple[float, float] | None
) -> None:
    model = trees(seed, nodes=41)
    y = model.predict(X)
    nearest = eb.attacks.TreeMinimum(norm="linf", bounds=bounds).run(model, X, y)
    distance = np.where(nearest.success, nearest.distance, np.inf)
    eps = float(np.median(distance[np.isfinite(distance)]))
    clear = np.abs(distance - eps) > 1e-6  # a unit in the last place is to either side
    certified = TreeCertificate(eps, bounds).certify(model, X, y)
    assert 0.2 < certified.mean() < 0.8
    np.testing.assert_array_equal(certified[clear], (distance > eps)[clear])


@pytest.mark.parametrize("columns", [None, "own"])
def test_no_point_of_the_ball_turns_a_certified_row_of_a_sum_of_trees(columns: str | None) -> None:
    grown = [random_tree(seed, nodes=9) for seed in range(6)]
    if columns:  # one value per leaf, for one class
        grown = [type(t)(t.feature, t.threshold, t.left, t.right, t.value[:, :1] - 0.3) for t in grown]
    model = Trees(grown, FEATURES, np.linspace(0, 0.1, CLASSES), scale=0.5,
                  columns=[i % CLASSES for i in range(6)] if columns else None)  # fmt: skip
    y = model.predict(X)
    certified = TreeCertificate(0.04).certify(model, X, y)
    assert 0.05 < certified.mean() < 1
    for point in range(2000):
        d = RNG.uniform(-0.04, 0.04, X.shape) if point % 2 else RNG.choice([-0.04, 0.04], X.shape)
        assert (model.predict(np.clip(X + d, 0, 1).astype(np.float32)) == y)[certified].all()


@pytest.mark.parametrize("decision", ["positive", "not_negative"])
def test_single_scores_are_certified_by_their_sign(decision: str) -> None:
    grown = [random_tree(seed, nodes=9) for seed in range(3)]
    model = Trees([type(t)(t.feature, t.threshold, t.left, t.right, t.value[:, :1] - 0.5) for t in grown], FEATURES,
                  [0.0], decision=decision)  # fmt: skip
    y = model.predict(X)
    certified = TreeCertificate(0.03).certify(model, X, y)
    assert 0.1 < certified.mean() < 1
    assert len(set(y[certified])) == 2
    assert not TreeCertificate(0.03).certify(model, X, 1 - y).any()


def test_evaluate_reports_what_is_proved_of_trees() -> None:
    model = trees(0)
    y = model.predict(X)
    report = eb.evaluate(model, X, y, [], certificates=[TreeCertificate(0.05)])
    np.testing.assert_array_equal(report.certified["trees linf eps=0.05"], TreeCertificate(0.05).certify(model, X, y))


def test_other_models_and_inputs_are_errors() -> None:
    model = trees(0)
    y = model.predict(X)
    with pytest.raises(TypeError, match=r"^model: wanted epsball\.sources\.Trees, got Sequential"):
        TreeCertificate(0.1).certify(eb.models.linear(FEATURES, CLASSES), X, y)
    with pytest.raises(ValueError, match=r"^eps: "):
        TreeCertificate(-0.1)
    with pytest.raises(ValueError, match=r"^x: "):
        TreeCertificate(0.1).certify(model, X[:, :2], y)
    with pytest.raises(ValueError, match=r"^x: "):
        TreeCertificate(0.1).certify(model, X + 2, y)
    with pytest.raises(ValueError, match=r"^y: "):
        TreeCertificate(0.1).certify(model, X, y + 7)
