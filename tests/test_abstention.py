"""Coverage against error: counts by hand, an attack on confidence."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from epsball.analysis import coverage_curve


class Told:
    """A model that says what it is told."""

    def __init__(self, p: list[list[float]]) -> None:
        self.p = np.array(p)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        return self.p

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.p.argmax(axis=1) if self.p.shape[1] > 1 else (self.p[:, 0] > 0.5).astype(np.int64)


def test_curve_counts_what_is_answered_and_what_is_wrong() -> None:
    model = Told([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.6, 0.4]])
    curve = coverage_curve(model, np.zeros((4, 1)), np.array([0, 0, 0, 1]))
    assert list(curve.threshold) == [0.6, 0.8, 0.9]
    assert list(curve.coverage) == [1.0, 0.5, 0.25]
    assert list(curve.error) == [0.5, 0.5, 0.0]
    assert curve.at(0.3) == (0.8, 0.5)
    assert curve.at(0.0) == (0.9, 0.0)


def test_one_logit_is_as_sure_of_class_0_as_of_class_1() -> None:
    curve = coverage_curve(Told([[0.1], [0.7]]), np.zeros((2, 1)), np.array([0, 0]))
    assert list(curve.confidences) == [0.9, 0.7]
    assert list(curve.right) == [True, False]


def test_area_is_0_where_confidence_tells_mistakes_last() -> None:
    good = coverage_curve(Told([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]), np.zeros((3, 1)), np.array([0, 0, 1]))
    bad = coverage_curve(Told([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]), np.zeros((3, 1)), np.array([1, 0, 0]))
    assert good.area() == pytest.approx(1 / 9)
    assert bad.area() == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_refusing_helps_on_clean_digits_and_not_against_an_attack_on_confidence(digits: dict[str, np.ndarray]) -> None:
    model = eb.models.mlp([784, 64, 10], seed=0)
    x, y = digits["x"], digits["y"]
    eb.fit(model, x, y, epochs=5)
    xt, yt = digits["xt"], digits["yt"]
    clean = coverage_curve(model, xt, yt)
    assert clean.at(0.8)[1] < clean.error[0]
    attacked = coverage_curve(model, eb.attacks.MaxConfidence(eps=0.2)(model, xt, yt), yt)
    assert attacked.at(0.5)[1] > 0.9


def test_bad_arguments_are_named() -> None:
    model = Told([[0.9, 0.1]])
    with pytest.raises(ValueError, match=r"^y: "):
        coverage_curve(model, np.zeros((1, 1)), np.array([0, 1]))
    with pytest.raises(TypeError, match=r"^model: "):
        coverage_curve(object(), np.zeros((1, 1)), np.array([0]))
    with pytest.raises(ValueError, match=r"^coverage: "):
        coverage_curve(model, np.zeros((1, 1)), np.array([0])).at(1.5)
