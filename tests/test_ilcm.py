"""Least-likely-class attack (Kurakin et al. 2016): descend towards the class the clean model likes least."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from cases import batch, pair
from oracle import NORMS


@pytest.mark.parametrize("norm", NORMS)
def test_target_is_the_least_likely_class_of_the_clean_input(table: str, norm: str) -> None:
    model, net = pair([17, 33, 10], "tanh", scale=2.0)
    x = batch(40, 17)
    y = net.predict(x)
    least = np.asarray(model(x)).argmin(axis=1)
    attack = eb.attacks.ILCM(eps=0.3, norm=norm, steps=6)
    towards = eb.attacks.BIM(eps=0.3, norm=norm, steps=6, targeted=True)
    np.testing.assert_array_equal(attack(model, x, y), towards(model, x, least))


def test_labels_only_judge_success(table: str) -> None:
    model, net = pair([17, 33, 10], "tanh", scale=2.0)
    x = batch(40, 17)
    y = net.predict(x)
    wrong = (y + 1) % 10
    attack = eb.attacks.ILCM(eps=0.1, steps=6)
    right, other = attack.run(model, x, y), attack.run(model, x, wrong)
    np.testing.assert_array_equal(right.x_adv, other.x_adv)
    predicted = np.asarray(model.predict(right.x_adv))
    np.testing.assert_array_equal(right.success, predicted != y)
    np.testing.assert_array_equal(other.success, predicted != wrong)
    assert (right.success != other.success).any()


def test_probability_of_the_least_likely_class_rises(table: str) -> None:
    model, net = pair([17, 33, 10], "tanh", scale=2.0)
    x = batch(40, 17)
    least = np.asarray(model(x)).argmin(axis=1)
    x_adv = eb.attacks.ILCM(eps=0.1, steps=6)(model, x, net.predict(x))
    rows = np.arange(40)
    before = np.asarray(model.probabilities(x))[rows, least]
    after = np.asarray(model.probabilities(x_adv))[rows, least]
    assert (after > before).all()
