"""Pointwise: nothing that is left can go back, fewer features than the start, the order drawn by row and seed."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from cases import batch, pair

A = eb.attacks
FEATURES, CLASSES, ROWS = 17, 4, 15
X = batch(ROWS, FEATURES)


def network() -> eb.Sequential:
    return pair([FEATURES, 9, CLASSES], "relu", scale=3.0)[0]


def test_no_feature_that_is_left_can_go_back(table: str) -> None:
    model = network()
    y = model.predict(X)
    run = A.Pointwise(refine=False).run(model, X, y)
    assert run.success.all()
    assert (run.distance < FEATURES).all()
    for i in range(FEATURES):
        back = run.x_adv.copy()
        back[:, i] = X[:, i]
        changed = run.x_adv[:, i] != X[:, i]
        np.testing.assert_array_equal(model.predict(back)[changed], y[changed])


def test_refined_features_lie_at_the_boundary(table: str) -> None:
    model = network()
    y = model.predict(X)
    whole, part = (A.Pointwise("l2", refine=r).run(model, X, y) for r in (False, True))
    assert (part.distance <= whole.distance).all()
    assert part.distance.mean() < 0.9 * whole.distance.mean()
    for i in range(FEATURES):
        nearer = part.x_adv.copy()
        nearer[:, i] += (X[:, i] - nearer[:, i]) / 64
        changed = part.x_adv[:, i] != X[:, i]
        np.testing.assert_array_equal(model.predict(nearer)[changed], y[changed])


def test_every_question_resets_one_feature_of_the_point() -> None:
    model = network()
    asked: list[np.ndarray] = []

    def predict(x: np.ndarray) -> np.ndarray:
        asked.append(np.array(x))
        return model.predict(x)

    start = (1 - X[:1]).astype(np.float32)
    y = (model.predict(start) + 1) % CLASSES
    A.Pointwise(start=start, refine=False).run(eb.LabelOracle(predict), X[:1], y)
    questions = np.concatenate(asked)
    assert ((questions == X[:1]) | (questions == start)).all()
    for one in questions[2:]:
        assert (one == X[0]).any()


def test_orders_are_drawn_by_seed_and_row() -> None:
    model = network()
    points = [A.Pointwise(seed=s, start=1 - X, refine=False)(model, X, (model.predict(1 - X) + 1) % CLASSES)
              for s in (0, 0, 1)]  # fmt: skip
    np.testing.assert_array_equal(points[0], points[1])
    assert (points[0] != points[2]).any()


def test_of_noise_a_few_features_are_left(digits: dict[str, np.ndarray]) -> None:
    model = eb.models.mlp([784, 64, 10], seed=0)
    eb.fit(model, digits["x"], digits["y"], epochs=3, seed=0)
    x = digits["xt"][:20]
    run = A.Pointwise().run(model, x)
    assert run.success.mean() > 0.9
    assert np.median(run.distance) < 784 / 10


def test_bad_options_are_named() -> None:
    with pytest.raises(TypeError, match="refine"):
        A.Pointwise(refine="yes")
    with pytest.raises(ValueError, match="norm"):
        A.Pointwise("l3")
