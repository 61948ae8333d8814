"""Squared error against one-hot targets, -1 / +1 for one logit, or targets given as (N, K)."""

from __future__ import annotations

import numpy as np
import pytest

from cases import batch, check_central_differences, check_loss, labels, pair

SHAPES = ([9, 1], [9, 2], [9, 10], [17, 5, 1], [17, 33, 10])


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_loss_and_gradients_agree_with_class_labels(table: str, sizes: list[int], rows: int) -> None:
    model, net = pair(sizes, "tanh")
    check_loss(model, net, batch(rows, sizes[0]), labels(rows, sizes[-1]), "squared_error")


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_loss_and_gradients_agree_with_targets(table: str, sizes: list[int]) -> None:
    model, net = pair(sizes, "tanh")
    t = np.random.default_rng(0).normal(size=(20, sizes[-1])).astype(np.float32)
    check_loss(model, net, batch(20, sizes[0]), t, "squared_error")


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("classes", [1, 3])
def test_gradient_is_the_slope_of_the_loss(table: str, activation: str, classes: int) -> None:
    model, net = pair([5, 7, classes], activation)
    check_central_differences(model, net, batch(12, 5), labels(12, classes), "squared_error")
