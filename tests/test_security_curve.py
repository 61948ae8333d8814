"""evaluation.security_curve: accuracy under attack that never rises with the budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, pair
from epsball.evaluation import security_curve

A = eb.attacks


def problem() -> tuple[Any, np.ndarray, np.ndarray]:
    model, _ = pair([9, 16, 4], "relu")
    x = batch(40, 9)
    return model, x, model.predict(x)


def test_each_budget_is_the_attack_and_smaller_ones_count_too() -> None:
    model, x, y = problem()
    curve = security_curve(model, x, y, A.PGD(eps=1, steps=5), [0.8, 0.0, 0.2])
    assert curve.eps == (0.0, 0.2, 0.8)
    right = np.array([model.predict(A.PGD(eps=e, steps=5)(model, x, y)) == y for e in curve.eps])
    np.testing.assert_allclose(curve.alone, right.mean(axis=1))
    np.testing.assert_allclose(curve.accuracy, np.logical_and.accumulate(right).mean(axis=1))
    assert curve.accuracy[0] == 1
    assert (np.diff(curve.accuracy) <= 0).all()
    assert curve.accuracy[-1] < 1


def test_it_says_at_most_and_has_intervals() -> None:
    model, x, y = problem()
    curve = security_curve(model, x, y, A.FGSM(eps=1), [0.0, 0.1])
    assert str(curve).count("at most") == 2
    assert [interval.accuracy for interval in curve.intervals()] == list(curve.accuracy)
    assert curve.to_dict()["accuracy_at_most"] == list(curve.accuracy)


def test_progress_is_told_of_every_budget() -> None:
    told: list[tuple[str, int, int]] = []
    security_curve(*problem(), A.FGSM(eps=1), [0.0, 0.1], progress=lambda *args: told.append(args))
    assert told == [(f"eps={eps}", done, 1) for eps in (0.0, 0.1) for done in (0, 1)]
    with pytest.raises(TypeError, match="progress: wanted True, False or a function"):
        security_curve(*problem(), A.FGSM(eps=1), [0.1], progress="yes")  # type: ignore[arg-type]


def test_bad_arguments_are_named() -> None:
    model, x, y = problem()
    with pytest.raises(TypeError, match="attack: wanted an attack with a budget"):
        security_curve(model, x, y, "pgd", [0.1])
    with pytest.raises(ValueError, match="attack: wanted an untargeted attack"):
        security_curve(model, x, y, A.FGSM(eps=1, targeted=True), [0.1])
    with pytest.raises(ValueError, match="eps: wanted at least one radius"):
        security_curve(model, x, y, A.FGSM(eps=1), [])
    with pytest.raises(ValueError, match="eps: wanted a number"):
        security_curve(model, x, y, A.FGSM(eps=1), [-0.1])
    with pytest.raises(TypeError, match="eps: wanted radii"):
        security_curve(model, x, y, A.FGSM(eps=1), 0.1)  # type: ignore[arg-type]
