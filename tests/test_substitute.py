"""Substitute: how many labels training asks for, which points it asks about, what is judged, and that it transfers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, pair

A = eb.attacks
FEATURES, CLASSES, ROWS = 6, 3, 10
SEEDS, X = batch(8, FEATURES, seed=1), batch(ROWS, FEATURES)


def black_box() -> Any:
    return pair([FEATURES, 9, CLASSES], "relu", scale=3.0)[0]


class Recorder:
    def __init__(self) -> None:
        self.points: list[np.ndarray] = []

    def __call__(self, x: Any) -> Any:
        self.points.append(np.array(x))
        return black_box().predict(x)


def small(**options: Any) -> A.Substitute:
    return A.Substitute(SEEDS, **{"rounds": 3, "epochs": 2, "hidden": (7,), "inner": A.FGSM(eps=0.4), **options})


def test_points_double_every_round_but_the_last() -> None:
    asked = Recorder()
    source = eb.LabelOracle(asked, classes=CLASSES)
    substitute = small(rounds=4).train(source)
    assert [len(p) for p in asked.points] == [8, 8, 16, 32]
    assert source.queries == 8 * 2**3
    np.testing.assert_array_equal(asked.points[0], SEEDS)
    assert (substitute.classes, substitute.input_shape) == (CLASSES, (FEATURES,))


def test_companions_follow_the_sign_of_the_labels_own_logit() -> None:
    asked = Recorder()
    attack = small(rounds=2, bounds=None, augment=0.25)
    attack.train(eb.LabelOracle(asked, classes=CLASSES))
    first = small(rounds=1, bounds=None).train(black_box())
    slope = np.take_along_axis(first.jacobian(SEEDS), black_box().predict(SEEDS)[:, None, None], axis=1)[:, 0]
    np.testing.assert_array_almost_equal_nulp(asked.points[1], SEEDS + np.float32(0.25) * np.sign(slope), 1)
    assert np.abs(asked.points[1].astype(np.float64) - SEEDS).max() <= 0.25


def test_the_step_changes_its_sign_every_three_rounds() -> None:
    asked = Recorder()
    small(rounds=5, bounds=None, augment=0.25).train(eb.LabelOracle(asked, classes=CLASSES))
    np.testing.assert_allclose(np.unique(np.abs(asked.points[1] - SEEDS)), 0.25, atol=1e-6)
    known = [SEEDS]
    signs = []
    for turn, new in enumerate(asked.points[1:]):
        substitute = small(rounds=turn + 1, bounds=None, augment=0.25).train(black_box())
        x = np.concatenate(known)
        slope = np.take_along_axis(substitute.jacobian(x), black_box().predict(x)[:, None, None], axis=1)[:, 0]
        signs.append(np.sign(((new - x) * np.sign(slope)).sum()))
        known.append(new)
    assert signs == [1, 1, 1, -1]


@pytest.mark.parametrize("budget", [8, 11, 16, 30])
def test_training_stays_within_its_budget(budget: int) -> None:
    source = eb.LabelOracle(black_box().predict, classes=CLASSES, budget=budget)
    small(rounds=5, budget=budget).train(source)
    assert source.queries == budget


def test_companions_stay_in_the_box() -> None:
    asked = Recorder()
    lo, hi = 0.35, 0.6  # the float32 nearest to either lies outside
    attack = A.Substitute(np.clip(SEEDS, 0.4, 0.5), rounds=3, epochs=2, hidden=(7,), bounds=(lo, hi), augment=0.7)
    attack.train(eb.LabelOracle(asked, classes=CLASSES))
    for points in asked.points:
        assert lo <= float(points.min())
        assert float(points.max()) <= hi


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("given", [True, False])
def test_success_is_what_the_black_box_says(given: bool, dtype: type) -> None:
    x = X.astype(dtype)
    y = black_box().predict(x) if given else None
    source = eb.LabelOracle(black_box().predict, classes=CLASSES)
    result = small().run(source, x, y)
    np.testing.assert_array_equal(result.success, black_box().predict(result.x_adv) != black_box().predict(x))
    np.testing.assert_array_equal(result.queries, 1 if given else 2)
    assert source.queries == 32 + result.queries.sum()
    assert result.x_adv.dtype == dtype
    assert (np.abs(result.x_adv.astype(np.float64) - x) <= 0.4).all()
    assert result.success.any()
    np.testing.assert_array_equal(result.reason == "", result.success)


def test_a_row_does_not_depend_on_the_others() -> None:
    source = black_box()
    whole = small()(source, X)
    np.testing.assert_array_equal(np.concatenate([small()(source, X[:3]), small()(source, X[3:])]), whole)


def test_a_source_that_fails_at_the_end_leaves_the_points() -> None:
    source = eb.LabelOracle(black_box().predict, classes=CLASSES, budget=32)
    with pytest.raises(A.AttackStopped, match="LabelOracle raised QueryBudgetExceeded") as caught:
        small().run(source, X, black_box().predict(X))
    result = caught.value.result
    assert not result.success.any()
    np.testing.assert_array_equal(result.x_adv, small()(black_box(), X))
    with pytest.raises(eb.QueryBudgetExceeded):
        small().train(eb.LabelOracle(black_box().predict, classes=CLASSES, budget=20))


def test_a_configuration_survives_a_dictionary() -> None:
    attack = small(inner=A.PGD(eps=0.2, steps=3))
    again = A.from_dict(attack.to_dict())
    assert again == attack
    np.testing.assert_array_equal(again(black_box(), X), attack(black_box(), X))


def test_bad_arguments_are_named() -> None:
    for options, match in (
        ({"rounds": 0}, "rounds"), ({"epochs": 0}, "epochs"), ({"budget": 7}, "budget: wanted at least one label"),
        ({"augment": -1.0}, "augment"), ({"classes": 1}, "classes"), ({"seed": -1}, "seed"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            small(**options)
    with pytest.raises(TypeError, match="inner: wanted an attack that follows gradients"):
        small(inner=A.HopSkipJump())
    with pytest.raises(ValueError, match="seeds: wanted finite points"):
        A.Substitute(SEEDS[:0])
    with pytest.raises(ValueError, match="classes: the black box does not say how many"):
        small().train(eb.LabelOracle(black_box().predict))
    with pytest.raises(ValueError, match="classes: wanted labels from 0 to 1, got 2"):
        small(classes=2).train(eb.LabelOracle(lambda x: np.full(len(x), 2)))
    with pytest.raises(ValueError, match="y: a targeted attack"):
        small(inner=A.FGSM(eps=0.1, targeted=True))(black_box(), X)


def test_most_digits_transfer_to_a_model_that_only_gave_labels(digits: dict[str, np.ndarray]) -> None:
    """Papernot et al. 2017: 150 test digits, six rounds; CleverHans' own test wants an oracle error above 70 %."""
    model = eb.models.mlp([784, 200, 200, 10], seed=3)
    eb.fit(model, digits["x"], digits["y"], epochs=5, seed=3)
    x, y = digits["xt"], digits["yt"]
    source = eb.LabelOracle(model.predict, classes=10)
    attack = A.Substitute(x[:150], seed=1)
    result = attack.run(source, x[150:450], y[150:450])
    assert source.queries == 150 * 2**5 + 300
    assert result.success.mean() > 0.5
    agreement = (attack.train(model).predict(x[150:]) == model.predict(x[150:])).mean()
    assert agreement > 0.7
