"""Policies of targets: never the label, what each of them promises, draws that depend on the row alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels, pair
from epsball.attacks.targets import POLICIES

FEATURES, CLASSES, ROWS = 5, 6, 300
X = batch(ROWS, FEATURES)
aim = eb.attacks.target_labels


def model() -> Any:
    return pair([FEATURES, CLASSES], scale=2.0)[0]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("classes", [1, 2, 6])
def test_the_target_is_a_class_and_never_the_label(policy: str, classes: int) -> None:
    own, y = pair([FEATURES, classes])[0], labels(ROWS, classes)
    target = aim(own, X, y, policy)
    assert (target != y).all()
    assert target.dtype == np.int64
    assert target.min() >= 0
    assert target.max() < max(classes, 2)
    assert (aim(own, X, None, policy) != own.predict(X)).all()


def test_what_the_policies_promise() -> None:
    own, y = model(), labels(ROWS, CLASSES)
    z = own(X)
    np.testing.assert_array_equal(aim(own, X, y, "next"), (y + 1) % CLASSES)
    lowest = aim(own, X, y, "least_likely")
    highest = aim(own, X, y, "likeliest")
    for row in range(ROWS):
        others = [c for c in range(CLASSES) if c != y[row]]
        assert z[row, lowest[row]] == z[row, others].min()
        assert z[row, highest[row]] == z[row, others].max()
    wrong = own.predict(X) != y
    np.testing.assert_array_equal(highest[wrong], own.predict(X)[wrong])


def test_random_targets_are_uniform_and_depend_on_seed_and_index_alone() -> None:
    own, y = model(), np.zeros(ROWS, np.int64)
    target = aim(own, X, y, seed=3)
    counts = np.bincount(target, minlength=CLASSES)
    assert counts[0] == 0
    assert (counts[1:] > ROWS / (CLASSES - 1) / 2).all()
    order = np.random.default_rng(0).permutation(ROWS)
    np.testing.assert_array_equal(aim(own, X[order], y[order], seed=3, index=order), target[order])
    assert (aim(own, X, y, seed=4) != target).mean() > 0.5


@pytest.mark.parametrize(
    "attack",
    [
        eb.attacks.FMN(steps=60),
        eb.attacks.CarliniWagner(steps=60, search_steps=5, step_size=0.05),
        eb.attacks.PGD(eps=0.1, steps=10),
        eb.attacks.FeatureDeletion(k=3),
    ],
)
@pytest.mark.parametrize("classes", [1, 2, 4])
def test_the_best_of_all_targets_is_as_good_as_each(attack: Any, classes: int) -> None:
    own, net = pair([FEATURES, 8, classes], "tanh", scale=2.0)
    x = X[:40]
    y = np.where(np.arange(40) % 5 == 0, labels(40, classes), net.predict(x))
    best = eb.attacks.best_of_targets(attack, own, x, y)
    np.testing.assert_array_equal(best.success, own.predict(best.x_adv) != y)
    count = max(classes, 2)
    configuration = {**attack.to_dict(), "targeted": True}
    runs = [eb.attacks.from_dict(configuration).run(own, x, (y + k) % count) for k in range(1, count)]
    np.testing.assert_array_equal(best.success, np.any([r.success for r in runs], axis=0))
    np.testing.assert_array_equal(best.queries, np.sum([r.queries for r in runs], axis=0))
    measure = "loss" if "eps" in configuration else "distance"
    least = np.min([np.where(r.success, getattr(r, measure), np.inf) for r in runs], axis=0)
    np.testing.assert_array_equal(getattr(best, measure)[best.success], least[best.success])
    assert best.success.any()


def test_an_attack_without_targets_has_no_best_of_them() -> None:
    for attack in (eb.attacks.DeepFool(), "pgd", None):
        with pytest.raises(TypeError, match="attack: wanted one that can be targeted"):
            eb.attacks.best_of_targets(attack, model(), X)  # type: ignore[arg-type]


def test_bad_arguments_are_named() -> None:
    own, y = model(), labels(ROWS, CLASSES)
    with pytest.raises(ValueError, match="policy"):
        aim(own, X, y, "best")
    with pytest.raises(TypeError, match="model: wanted a model with logits, got LabelOracle"):
        aim(eb.LabelOracle(own.predict), X, y)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="y: wanted 300 class indices"):
        aim(own, X, y[:3])
    with pytest.raises(ValueError, match="y: wanted class indices from 0 to 5, got 0 to 6"):
        aim(own, X, np.arange(ROWS) % 7)
    with pytest.raises(ValueError, match="seed"):
        aim(own, X, y, seed=-1)
