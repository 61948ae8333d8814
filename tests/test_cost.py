"""Cost matrices: sums against loops, abstentions with a price."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from epsball.analysis import expected_cost


def test_the_01_loss_is_the_error() -> None:
    rng = np.random.default_rng(0)
    said, y = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    found = expected_cost(said, y, 1 - np.eye(5))
    assert found.mean == pytest.approx((said != y).mean())
    for k in range(5):
        assert found.per_class[k] == pytest.approx((said != y)[y == k].mean())


def test_cost_is_the_sum_over_the_confusion_matrix() -> None:
    rng = np.random.default_rng(1)
    costs = rng.normal(size=(4, 5))
    said, y = rng.integers(-1, 4, 300), rng.integers(0, 3, 300)
    found = expected_cost(said, y, costs)
    each = [costs[t, 4 if s < 0 else s] for s, t in zip(said, y, strict=True)]
    assert found.mean == pytest.approx(np.mean(each))
    assert found.worst == pytest.approx(np.max(each))
    assert found.mean == pytest.approx((found.confusion * costs).sum() / 300)
    assert found.confusion.sum() == 300
    assert np.isnan(found.per_class[3])  # no such row


@pytest.mark.parametrize(
    ("said", "y", "costs", "name"),
    [
        ([0, -1], [0, 1], np.eye(2), "costs: wanted a last column"),
        ([0, 1], [0, 2], np.eye(2), "y"),
        ([0, 3], [0, 1], np.eye(2), "predictions"),
        ([0], [0, 1], np.eye(2), "predictions"),
        ([], [], np.eye(2), "predictions|y"),
        ([0.5], [0], np.eye(2), "predictions"),
        ([0], [0], np.ones((2, 4)), "costs"),
        ([0], [0], [[np.nan, 0], [0, 0]], "costs"),
    ],
)
def test_bad_arguments_are_named(said: Any, y: Any, costs: Any, name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^({name})"):
        expected_cost(said, y, costs)
