"""The margin loss of Carlini and Wagner: largest other logit minus the true one."""

from __future__ import annotations

import numpy as np
import pytest

from cases import batch, check_central_differences, check_loss, labels, pair

SHAPES = ([9, 1], [9, 2], [9, 10], [17, 5, 1], [17, 33, 10])


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_loss_and_gradients_agree(table: str, sizes: list[int], rows: int) -> None:
    model, net = pair(sizes, "tanh")
    check_loss(model, net, batch(rows, sizes[0]), labels(rows, sizes[-1]), "margin")


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("classes", [1, 3])
def test_gradient_is_the_slope_of_the_loss(table: str, activation: str, classes: int) -> None:
    model, net = pair([5, 7, classes], activation)
    check_central_differences(model, net, batch(12, 5), labels(12, classes), "margin")


def test_margin_is_positive_exactly_where_the_prediction_is_wrong(table: str) -> None:
    model, _ = pair([9, 10])
    x, y = batch(200, 9), labels(200, 10)
    y[::2] = model.predict(x)[::2]
    wrong = np.asarray(model.predict(x)) != y
    np.testing.assert_array_equal(np.asarray(model.loss(x, y, loss="margin")) > 0, wrong)
    assert 0 < wrong.sum() < 200
