"""The multi-class hinge loss of Crammer and Singer: its gradients, and what it has in common with the margin."""

from __future__ import annotations

import numpy as np
import pytest

import oracle
from cases import batch, check_central_differences, check_loss, engine, labels, pair
from oracle import Net

SHAPES = ([9, 1], [9, 2], [9, 10], [17, 5, 1], [17, 33, 10])


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_loss_and_gradients_agree(table: str, sizes: list[int], rows: int) -> None:
    model, net = pair(sizes, "tanh")
    check_loss(model, net, batch(rows, sizes[0]), labels(rows, sizes[-1]), "crammer_singer")


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("classes", [1, 3])
def test_gradient_is_the_slope_of_the_loss(table: str, activation: str, classes: int) -> None:
    model, net = pair([5, 7, classes], activation)
    check_central_differences(model, net, batch(12, 5), labels(12, classes), "crammer_singer")


def test_one_logit_has_the_binary_hinge(table: str) -> None:
    model, _ = pair([9, 1], scale=3.0)
    x, y = batch(50, 9), labels(50, 1)
    np.testing.assert_array_equal(model.loss(x, y, loss="crammer_singer"), model.loss(x, y, loss="hinge"))
    for wanted, found in zip(
        model.parameter_gradients(x, y, loss="hinge").values(),
        model.parameter_gradients(x, y, loss="crammer_singer").values(),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)


def test_of_equal_rivals_the_first_counts_and_at_the_kink_none_does(table: str) -> None:
    model = engine(Net([np.eye(4)], [np.zeros(4)]))  # the logits are the input
    z = np.array([[0.5, 0.0, 0.5, 0.5], [2.0, 0.0, 1.0, 1.0], [2.0, 0.0, 1.5, 1.5]], np.float32)
    gradient = model.input_gradient(z, np.zeros(3, np.int64), loss="crammer_singer")
    np.testing.assert_array_equal(gradient, [[-1, 0, 1, 0], [0, 0, 0, 0], [-1, 0, 1, 0]])


def test_it_is_positive_wherever_the_prediction_is_wrong(table: str) -> None:
    model, net = pair([9, 10])
    x, y = batch(200, 9), labels(200, 10)
    wrong = net.predict(x) != y
    loss = np.asarray(model.loss(x, y, loss="crammer_singer"))
    assert (loss[wrong] > 1 - 1e-5).all()
    np.testing.assert_allclose(loss, oracle.loss("crammer_singer", net(x), y), atol=1e-5)
