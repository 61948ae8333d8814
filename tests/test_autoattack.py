"""AutoAttack: its members in order, each on the rest, what it returns, and what it warns of."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, constant_model, labels, pair, sized

A = eb.attacks


def problem(rows: int = 0, classes: int = 10) -> tuple[Any, np.ndarray, np.ndarray]:
    """Some rows are wrong as they are, some fall, some stand."""
    rows = rows or sized(60, on_emulator=8)
    model, net = pair([33, 31, classes], "relu", scale=2.0)
    x = batch(rows, 33)
    return model, x, np.where(np.arange(rows) % 6 == 0, labels(rows, classes), net.predict(x))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_members_are_the_published_ones(norm: str) -> None:
    sparse = norm == "l1"
    standard = A.AutoAttack(eps=0.1, norm=norm, seed=5).members(10)
    shared = {"eps": 0.1, "norm": norm, "seed": 5, "early_stop": True}
    first, aimed = (
        A.APGD(**shared, steps=100, restarts=5 if sparse else 1),
        A.APGD(**shared, targets=5 if sparse else 9, loss="dlr"),
    )
    square = A.Square(**shared, queries=5000, p_init=0.8)
    assert standard == [first, aimed, A.FAB(norm=norm, targets=9, seed=5), square]
    draws = [A.APGD(**shared, loss=loss, model_draws=20) for loss in ("cross_entropy", "dlr")]
    assert A.AutoAttack(eps=0.1, norm=norm, version="rand", seed=5).members(10) == draws
    plus = A.AutoAttack(eps=0.1, norm=norm, version="plus", seed=5).members(10)
    again = [A.APGD(**shared, restarts=5, loss=loss) for loss in ("cross_entropy", "dlr")]
    aimed = [A.APGD(**shared, targets=9, loss="dlr"), A.FAB(norm=norm, targets=9, seed=5)]
    assert plus == [*again, A.FAB(norm=norm, restarts=5, radius=0.1, seed=5), square, *aimed]
    assert A.AutoAttack(eps=0.1).members(5)[1].targets == 4


def test_a_row_falls_if_any_member_breaks_it_and_else_returns_the_largest_margin_found(table: str) -> None:
    classes = sized(10, on_emulator=5)
    model, x, y = problem(classes=classes)
    whole = A.AutoAttack(eps=0.03, seed=3)
    run = whole.run(model, x, y)
    clean = np.asarray(model.predict(x)) != y
    alone = [m.run(model, x, y) for m in whole.members(classes)]
    inside = [r.distance <= 0.03 for r in alone]  # FAB looks for the nearest, however far
    broken = np.any([r.success & i for r, i in zip(alone, inside, strict=True)], axis=0)
    np.testing.assert_array_equal(run.success, clean | broken)
    assert clean.sum() < run.success.sum() < len(x)
    np.testing.assert_array_equal(run.success, np.asarray(model.predict(run.x_adv)) != y)
    assert (run.queries[clean] == 1).all()
    np.testing.assert_array_equal(run.x_adv[clean], x[clean])
    rest = ~run.success
    np.testing.assert_array_equal(run.queries[rest], 1 + sum(r.queries for r in alone)[rest])
    margin = [np.where(i, model.loss(r.x_adv, y, loss="margin"), -np.inf) for r, i in zip(alone, inside, strict=True)]
    np.testing.assert_array_equal(run.loss[rest], np.max(margin, axis=0)[rest])
    np.testing.assert_array_equal(run.loss, model.loss(run.x_adv, y, loss="margin"))


def test_the_call_is_the_class_and_takes_eps_and_masks_per_row(table: str) -> None:
    model, x, y = problem()
    eps = np.linspace(0.0, 0.1, len(x))
    mask = np.random.default_rng(0).random(x.shape) < 0.7
    x_adv = eb.autoattack(model, x, y, eps=eps, mask=mask, version="rand")
    np.testing.assert_array_equal(x_adv, A.AutoAttack(eps, mask=mask, version="rand")(model, x, y))
    np.testing.assert_array_equal(x_adv[~mask], x[~mask])
    assert (np.abs(x_adv.astype(np.float64) - x).max(axis=1) <= eps).all()
    for i in (3, sized(40, on_emulator=5)):
        one = eb.autoattack(model, x[[i]], y[[i]], eps=eps[i], mask=mask[[i]], version="rand", index=[i])
        np.testing.assert_array_equal(one[0], x_adv[i])


def test_an_empty_batch_and_one_that_is_wrong_already(table: str) -> None:
    model, x, y = problem()
    assert A.AutoAttack(eps=0.1).run(model, x[:0], y[:0]).x_adv.shape == (0, 33)
    wrong = (np.asarray(model.predict(x)) + 1) % 10
    run = A.AutoAttack(eps=0.1).run(model, x, wrong)
    assert run.success.all()
    np.testing.assert_array_equal(run.x_adv, x)


# ---- warnings


def test_an_ordinary_model_gives_no_warning(table: str) -> None:
    model, x, y = problem(classes=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        A.AutoAttack(eps=0.03, version="rand")(model, x, y)


def test_models_that_it_measures_badly_are_named() -> None:
    model, x, y = problem()
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, (10, 33)).astype(np.float32)
    vjp = lambda x, d: d @ weights  # noqa: E731
    random = eb.CallableModel(lambda x: np.asarray(model(x)) + rng.normal(0, 1, (len(x), 10)), vjp, classes=10)
    probable = eb.CallableModel(model.probabilities, vjp, classes=10)
    with pytest.warns(A.AutoAttackWarning, match="change from call to call"):
        A.AutoAttack(eps=0.01)(random, x[:3], y[:3])
    with warnings.catch_warnings():  # "rand" is the version for them
        warnings.simplefilter("error")
        A.AutoAttack(eps=0.01, version="rand")(random, x[:3], y[:3])
    with pytest.warns(A.AutoAttackWarning, match="look like probabilities"):
        A.AutoAttack(eps=0.01, version="rand")(probable, x[:5], y[:5])
    for call in (eb.autoattack, lambda *a, **k: eb.evaluate(*a, attacks=[A.AutoAttack(**k)])):
        with pytest.warns(A.AutoAttackWarning) as caught:
            call(probable, x[:5], y[:5], eps=0.01, version="rand")
        assert {warning.filename for warning in caught} == {__file__}
    with pytest.warns(A.AutoAttackWarning, match="no gradient"):
        A.AutoAttack(eps=0.01, version="rand")(constant_model(33, 10), x, np.zeros(len(x), np.int64))


def test_square_beating_gradients_is_named() -> None:
    """The right logits with gradients of the wrong sign."""
    model, x, y = problem(rows=20)

    def wrong_way(x: np.ndarray, d: np.ndarray) -> np.ndarray:
        return -np.einsum("nk,nkf->nf", d, np.asarray(model.jacobian(x)))

    bad = eb.CallableModel(model, wrong_way, classes=10)
    with pytest.warns(A.AutoAttackWarning, match=r"Square broke \d+ rows that gradients did not"):
        A.AutoAttack(eps=0.1)(bad, x, y)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_few_classes_are_named_and_attacked_all_the_same(classes: int) -> None:
    model, net = pair([33, 9, classes], "tanh", scale=3.0)
    x = batch(30, 33)
    for version in ("standard", "plus", "rand"):
        attack = A.AutoAttack(eps=0.2, version=version)
        with pytest.warns(A.AutoAttackWarning, match="too few"):
            run = attack.run(model, x[:10] if version == "plus" else x, net.predict(x[:10] if version == "plus" else x))
        assert run.success.any()


@pytest.mark.parametrize(("name", "value"), [("version", "fast"), ("eps", -1.0), ("norm", "l0")])
def test_bad_options_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name}:"):
        A.AutoAttack(**{"eps": 0.1, name: value})


def test_probabilities_are_no_labels_and_there_is_no_trace() -> None:
    model, x, y = problem()
    with pytest.raises(TypeError, match=r"^y: wanted 60 class indices"):
        eb.autoattack(model, x, np.full((60, 10), 0.1, np.float32))
    with pytest.raises(ValueError, match=r"^trace:"):
        A.AutoAttack(eps=0.1).run(model, x, y, trace=True)
