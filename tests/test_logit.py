"""The label's logit, reversed: its gradients, and an attack that climbs it."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from cases import batch, check_central_differences, check_loss, labels, pair

SHAPES = ([9, 1], [9, 2], [9, 10], [17, 5, 1], [17, 33, 10])


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_loss_and_gradients_agree(table: str, sizes: list[int], rows: int) -> None:
    model, net = pair(sizes, "tanh")
    check_loss(model, net, batch(rows, sizes[0]), labels(rows, sizes[-1]), "logit")


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("classes", [1, 3])
def test_gradient_is_the_slope_of_the_loss(table: str, activation: str, classes: int) -> None:
    model, net = pair([5, 7, classes], activation)
    check_central_differences(model, net, batch(12, 5), labels(12, classes), "logit")


def test_a_targeted_attack_raises_the_targets_logit(table: str) -> None:
    model, net = pair([9, 12, 4], "tanh")
    x = batch(40, 9)
    target = (net.predict(x) + 1) % 4
    attack = eb.attacks.PGD(eps=0.2, steps=20, loss="logit", targeted=True, early_stop=False, bounds=None)
    before, after = (np.asarray(model(points))[np.arange(40), target] for points in (x, attack(model, x, target)))
    assert (after > before).all()
