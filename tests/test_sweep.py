"""Several budgets in one call: each as if alone, and success that never falls."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, pair, sized


def test_each_budget_is_what_it_is_alone_and_success_never_falls(table: str) -> None:
    model, net = pair([33, 31, 10], "relu", scale=3.0)
    x = batch(80, 33)
    y = net.predict(x)
    eps = [0.3, 0.02, 0.1, 0.0, 0.05]
    attack = eb.attacks.FGSM(eps=0.1)
    swept = attack.sweep(model, x, y, eps=eps)
    alone = [eb.attacks.FGSM(eps=e).run(model, x, y) for e in eps]
    for e, ours, one in zip(eps, swept, alone, strict=True):
        same = ours.success == one.success
        assert (ours.success | ~one.success).all()
        np.testing.assert_array_equal(ours.x_adv[same], one.x_adv[same])
        np.testing.assert_array_equal(ours.success, np.asarray(model.predict(ours.x_adv)) != y)
        assert (np.abs(ours.x_adv.astype(np.float64) - x).max(axis=1) <= e).all()
        np.testing.assert_allclose(ours.distance, np.abs(ours.x_adv.astype(np.float64) - x).max(axis=1))
    by_size = [swept[i].success for i in np.argsort(eps)]
    assert all((b | ~a).all() for a, b in pairwise(by_size))


def test_a_row_that_only_a_smaller_ball_breaks_stays_broken(table: str) -> None:
    """One step of 0.2 reaches the other class, which lies in the middle; one of 0.6 leaps over it."""
    model = eb.Sequential([eb.Linear(1, 1), eb.Quadratic(), eb.Linear(1, 1)], input_shape=(1,))
    weights = {"0.weight": [[2.0]], "0.bias": [-1.0], "2.weight": [[1.0]], "2.bias": [-0.1]}  # 4 (x - 0.5)^2 - 0.1
    model.load_parameters({name: np.array(value) for name, value in weights.items()})
    x, y = np.array([[0.7]], np.float32), np.array([1])
    attack = eb.attacks.FGSM(eps=0.1)
    assert not eb.attacks.FGSM(eps=0.6).run(model, x, y).success[0]
    large, small = attack.sweep(model, x, y, eps=[0.6, 0.2])
    assert small.success[0]
    assert large.success[0]
    np.testing.assert_array_equal(large.x_adv, small.x_adv)
    assert large.distance[0] == small.distance[0]


STOPPING: dict[str, Any] = {
    "pgd": eb.attacks.PGD(0.0, steps=5, restarts=2, early_stop=True),
    "apgd": eb.attacks.APGD(0.0, steps=10, early_stop=True),
    "square": eb.attacks.Square(0.0, queries=20),
    "random": eb.attacks.RandomSearch(0.0, draws=10),
    "autoattack": eb.attacks.AutoAttack(0.0, version="rand"),
}


@pytest.mark.parametrize("name", STOPPING)
def test_rows_that_a_smaller_ball_has_broken_are_not_attacked_again(table: str, name: str) -> None:
    model, net = pair([33, 31, 10], "relu", scale=3.0)
    rows = sized(60, on_emulator=16)
    x = batch(60, 33)[:rows]
    y, index, mask = net.predict(x), np.arange(rows) + 7, np.random.default_rng(0).integers(0, 2, (rows, 33))
    attack = eb.attacks.from_dict({**STOPPING[name].to_dict(), "mask": mask})
    eps = [0.02, 0.1, 0.3]
    swept = attack.sweep(model, x, y, eps=eps, index=index)
    alone = [eb.attacks.from_dict({**attack.to_dict(), "eps": e}).run(model, x, y, index) for e in eps]
    broken = np.zeros(rows, bool)
    for i, (ours, one) in enumerate(zip(swept, alone, strict=True)):
        for field in ("x_adv", "success", "distance", "queries", "loss", "zero_gradient"):
            new, old = getattr(ours, field), getattr(swept[i - 1], field)
            np.testing.assert_array_equal(new[~broken], getattr(one, field)[~broken])
            np.testing.assert_array_equal(new[broken], old[broken])
        np.testing.assert_array_equal(ours.success, np.asarray(model.predict(ours.x_adv)) != y)
        assert i == 0 or 0 < broken.sum() < rows
        broken = ours.success


def test_models_are_asked_for_the_rows_that_are_left_only() -> None:
    model, net = pair([33, 31, 10], "relu", scale=3.0)
    x = batch(60, 33)
    asked: list[int] = []

    def logits(rows: np.ndarray) -> Any:
        asked.append(len(rows))
        return model(rows)

    source = eb.CallableModel(logits, lambda rows, d: np.zeros_like(rows), classes=10)
    attack = eb.attacks.Square(0.0, queries=20)
    first, second = attack.sweep(source, x, net.predict(x), eps=[0.1, 0.3])
    both = sum(asked)
    asked.clear()
    attack.sweep(source, x, net.predict(x), eps=[0.1])
    left = int((~first.success).sum())
    assert 0 < left < 60
    assert both - sum(asked) <= 21 * left
    assert second.success.sum() > first.success.sum()
    everything = attack.sweep(source, x, (net.predict(x) + 1) % 10, eps=[0.1, 0.3])
    np.testing.assert_array_equal(everything[1].x_adv, everything[0].x_adv)


def test_rows_that_fail_in_a_larger_ball_are_named_by_their_places_in_x() -> None:
    """The first ball breaks the rows in front of the one whose logits overflow in the second."""
    far = np.float32(0.75)

    def logits(rows: np.ndarray) -> Any:
        z = np.stack([0.6 - rows[:, 0], rows[:, 0] - 0.6], axis=1)
        return np.where(rows[:, 1:] > far, np.inf, z).astype(np.float32)

    source = eb.CallableModel(logits, lambda rows, d: np.stack([d[:, 1] - d[:, 0], np.ones(len(rows))], 1), classes=2)
    x = np.array([[0.55, 0.5], [0.55, 0.5], [0.2, 0.5]], np.float32)
    with pytest.raises(eb.attacks.BrokenRows, match=r"^eps 0.3, 1 of 3 rows: .*1 of 1 rows failed") as caught:
        eb.attacks.PGD(0.1, steps=1, step_size=1.0, random_start=False, early_stop=True).sweep(
            source, x, np.zeros(3, np.int64), eps=[0.1, 0.3]
        )
    np.testing.assert_array_equal(caught.value.rows, [2])
    np.testing.assert_array_equal(caught.value.result.success, [True, True, False])
    assert [bool(reason) for reason in caught.value.result.reason] == [False, False, True]


def test_bad_budgets_are_named() -> None:
    model, net = pair([9, 4])
    x = batch(5, 9)
    with pytest.raises(ValueError, match=r"^eps:"):
        eb.attacks.PGD(eps=0.1).sweep(model, x, net.predict(x), eps=[0.1, -1.0])
    with pytest.raises(TypeError, match=r"^eps:"):
        eb.attacks.PGD(eps=0.1).sweep(model, x, net.predict(x), eps=["much"])
    with pytest.raises(TypeError, match=r"^eps:"):
        eb.attacks.PGD(eps=0.1).sweep(model, x, net.predict(x), eps=0.1)
    with pytest.raises(TypeError, match=r"^eps: DDN has none to sweep; the distances of one run tell"):
        eb.attacks.DDN().sweep(model, x, net.predict(x), eps=[0.1])
    with pytest.raises(ValueError, match=r"^eps: wanted at least one"):
        eb.attacks.PGD(eps=0.1).sweep(model, x, net.predict(x), eps=[])
