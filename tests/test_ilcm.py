"""Least-likely-class attack (Kurakin et al. 2016): descend towards the class the clean model likes least."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, pair
from oracle import NORMS


def victim() -> tuple[Any, np.ndarray, np.ndarray]:
    model, net = pair([17, 33, 10], "tanh", scale=2.0)
    x = batch(40, 17)
    return model, x, net.predict(x)


@pytest.mark.parametrize("norm", NORMS)
def test_path_leads_towards_the_least_likely_class_of_the_clean_input(table: str, norm: str) -> None:
    model, x, y = victim()
    least = np.asarray(model(x)).argmin(axis=1)
    ours = eb.attacks.ILCM(eps=0.3, norm=norm, steps=6).run(model, x, y, trace=True)
    towards = eb.attacks.BIM(eps=0.3, norm=norm, steps=6, targeted=True).run(model, x, least, trace=True)
    np.testing.assert_array_equal(ours.trace, towards.trace)
    # What is kept is a point of the path: of rows that no point fools, the one nearest to the target.
    assert (ours.trace == ours.loss[:, None]).any(axis=1).all()
    failed = ~ours.success
    np.testing.assert_array_equal(ours.loss[failed], np.asarray(ours.trace)[failed].min(axis=1))


def test_labels_only_judge_success(table: str) -> None:
    model, x, y = victim()
    wrong = (y + 1) % 10
    attack = eb.attacks.ILCM(eps=0.1, steps=6)
    right, other = attack.run(model, x, y, trace=True), attack.run(model, x, wrong, trace=True)
    np.testing.assert_array_equal(right.trace, other.trace)
    for run, label in ((right, y), (other, wrong)):
        np.testing.assert_array_equal(run.success, np.asarray(model.predict(run.x_adv)) != label)
    assert (right.success != other.success).any()


def test_solved_row_stays_solved_with_more_steps(table: str) -> None:
    """Misclassified comes first: a row that was solved on the way is not given up for a lower loss."""
    model, x, y = victim()
    solved = [eb.attacks.ILCM(eps=0.2, steps=k, step_size=0.04).run(model, x, y).success for k in range(9)]
    for fewer, more in itertools.pairwise(solved):
        assert (more >= fewer).all()
    assert not solved[0].any()
    assert solved[-1].any()


def test_probability_of_the_least_likely_class_rises(table: str) -> None:
    model, net = pair([17, 33, 10], "tanh", scale=2.0)
    x = batch(40, 17)
    least = np.asarray(model(x)).argmin(axis=1)
    x_adv = eb.attacks.ILCM(eps=0.1, steps=6)(model, x, net.predict(x))
    rows = np.arange(40)
    before = np.asarray(model.probabilities(x))[rows, least]
    after = np.asarray(model.probabilities(x_adv))[rows, least]
    assert (after > before).all()
