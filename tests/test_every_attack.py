"""What every attack promises, asked of every class of the package: bounds, judgement, rows by themselves, bad input."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import constant_model, labels, use_threads
from every_attack import (
    CLASSES,
    FEATURES,
    MAKE,
    NETWORKS,
    ROWS,
    SHAPE,
    SOURCES,
    WHOLE,
    having,
    images,
    model_for,
    network,
    options_of,
    problem,
)

A = eb.attacks
EACH = pytest.mark.parametrize("name", MAKE)
FIELDS = ("x_adv", "success", "distance", "queries", "loss", "zero_gradient")
pytestmark = pytest.mark.filterwarnings("ignore::epsball.attacks.AutoAttackWarning")


def test_no_attack_of_the_package_is_missing_here() -> None:
    classes = {n for n, c in vars(A).items() if isinstance(c, type) and issubclass(c, A.Attack) and c is not A.Attack}
    assert classes == set(MAKE)


def norm_of(attack: Any) -> str:
    return str(getattr(attack, "norm", "linf"))  # Substitute: that of its FGSM


def radius_of(attack: Any) -> float:
    return float(getattr(getattr(attack, "inner", attack), "eps", np.inf))


def assert_same(one: Any, other: Any, rows: Any = slice(None)) -> None:
    """`other` has, bit for bit, the rows of `one`."""
    for field in FIELDS:
        np.testing.assert_array_equal(np.asarray(getattr(one, field))[rows], getattr(other, field), field)


# ---- what a result says of itself


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@EACH
def test_the_result_is_in_ball_and_box_and_what_is_said_of_it_is_true(table: str, name: str, dtype: type) -> None:
    model, x, y = problem(name)
    x = x.astype(dtype)
    attack = MAKE[name]()
    run = attack.run(model, x, y)
    x_adv = np.asarray(run.x_adv)
    assert x_adv.shape == x.shape
    assert x_adv.dtype == dtype
    assert ((x_adv >= 0) & (x_adv <= 1)).all()
    distance = oracle.distance(x_adv, x, norm_of(attack))
    np.testing.assert_allclose(run.distance, distance, rtol=1e-12, atol=0)
    assert (distance <= radius_of(attack)).all()
    np.testing.assert_array_equal(run.success, np.asarray(model.predict(x_adv)) != y)
    assert run.success.any()
    assert (run.queries >= 0).all()


@pytest.mark.parametrize("name", [n for n in MAKE if n not in WHOLE])
def test_a_row_is_the_same_in_every_batch_and_order(table: str, name: str) -> None:
    model, x, y = problem(name)
    attack = MAKE[name]()
    whole = attack.run(model, x, y)
    for rows in (np.array([0]), np.array([7]), np.arange(3, 8), np.random.default_rng(0).permutation(ROWS)):
        assert_same(whole, attack.run(model, x[rows], y[rows], index=rows), rows)
    for threads in (1, 2, 3):
        use_threads(threads)
        assert_same(whole, attack.run(model, x, y))


@EACH
def test_inputs_keep_every_bit_and_nothing_is_printed(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    model, x, y = problem(name)
    before = x.tobytes(), y.tobytes()
    x.flags.writeable = y.flags.writeable = False
    x_adv = MAKE[name]()(model, x, y)
    assert (x.tobytes(), y.tobytes()) == before
    assert not np.shares_memory(x_adv, x)
    assert capfd.readouterr() == ("", "")


@EACH
def test_configurations_survive_a_dictionary(name: str) -> None:
    attack = MAKE[name]()
    assert A.from_dict(attack.to_dict()) == attack


# ---- nothing to do, or nothing that helps


@EACH
def test_an_empty_batch_gives_an_empty_result(table: str, name: str) -> None:
    model, x, y = problem(name)
    for dtype in (np.float32, np.float64):
        run = MAKE[name]().run(model, x[:0].astype(dtype), y[:0])
        assert run.x_adv.shape == (0, *SHAPE)
        assert run.x_adv.dtype == dtype
        for field in FIELDS[1:]:
            assert getattr(run, field).shape == (0,)


@pytest.mark.parametrize("name", having("eps"))
def test_eps_zero_returns_x(table: str, name: str) -> None:
    model, x, y = problem(name)
    run = MAKE[name](eps=0.0).run(model, x, y)
    np.testing.assert_array_equal(run.x_adv, x)
    np.testing.assert_array_equal(run.distance, 0)
    np.testing.assert_array_equal(run.success, np.asarray(model.predict(x)) != y)


@EACH
def test_rows_that_lie_on_the_bounds_stay_within(table: str, name: str) -> None:
    model = model_for(name)
    corners = np.random.default_rng(0).integers(0, 2, (6, *SHAPE)).astype(np.float32)
    x = np.concatenate([np.zeros((1, *SHAPE), np.float32), np.ones((1, *SHAPE), np.float32), corners])
    y = np.asarray(model.predict(x))
    run = MAKE[name]().run(model, x, y)
    assert ((run.x_adv >= 0) & (run.x_adv <= 1)).all()
    np.testing.assert_array_equal(run.success, np.asarray(model.predict(run.x_adv)) != y)


@EACH
def test_rows_that_are_wrong_as_they_are_stay_wrong(table: str, name: str) -> None:
    model, x, _ = problem(name)
    y = (np.asarray(model.predict(x)) + 1) % CLASSES
    attack = MAKE[name]()
    run = attack.run(model, x, y)
    if name == "Substitute":  # the point that transfers is the substitute's, whatever the label was
        np.testing.assert_array_equal(run.success, np.asarray(model.predict(run.x_adv)) != y)
        return
    # Single steps, targets and noise may lead back.
    if name not in ("FGSM", "RFGSM", "ILCM", "SmoothPGD", "VirtualAdversarial"):
        assert run.success.all()
    if "eps" not in options_of(name) and name != "Spatial":  # the nearest misclassified point is x
        np.testing.assert_array_equal(run.x_adv, x)
        np.testing.assert_array_equal(run.distance, 0)


@pytest.mark.parametrize("name", having("targeted"))
def test_targets_that_are_the_predictions_are_reached_at_once(table: str, name: str) -> None:
    model, x, _ = problem(name)
    y = np.asarray(model.predict(x))
    run = MAKE[name](targeted=True).run(model, x, y)
    assert run.success.all()
    np.testing.assert_array_equal(model.predict(run.x_adv), y)
    if "eps" not in options_of(name):
        np.testing.assert_array_equal(run.x_adv, x)


@pytest.mark.parametrize("name", having("targeted"))
def test_a_targeted_attack_without_targets_is_an_error(name: str) -> None:
    model, x, _ = problem(name)
    with pytest.raises(ValueError, match="y: a targeted attack needs the target labels"):
        MAKE[name](targeted=True)(model, x)


@pytest.mark.parametrize("name", [n for n in MAKE if n in having("eps") and n in having("targeted")])
def test_a_sweep_of_a_targeted_attack_without_targets_is_an_error(name: str) -> None:
    model, x, _ = problem(name)
    with pytest.raises(ValueError, match="y: a targeted attack needs the target labels"):
        MAKE[name](targeted=True).sweep(model, x, eps=[0.1, 0.2])


@pytest.mark.parametrize("name", NETWORKS)
def test_labels_of_another_shape_are_a_value_error_and_those_that_are_no_integers_a_type_error(name: str) -> None:
    model, x, y = problem(name)
    with pytest.raises(ValueError, match=r"^y: "):
        MAKE[name]()(model, x, y[:-1])
    with pytest.raises(TypeError, match=r"^y: "):
        MAKE[name]()(model, x, y.astype(str))


@pytest.mark.parametrize("name", [n for n in MAKE if n not in SOURCES])
def test_a_model_that_never_changes_its_mind_breaks_no_row(table: str, name: str) -> None:
    model, x = constant_model(FEATURES, CLASSES), images()
    run = MAKE[name]().run(model, x, np.asarray(model.predict(x)))
    assert not run.success.any()
    assert np.isfinite(np.asarray(run.x_adv)).all()
    if "eps" not in options_of(name) and name != "Substitute":
        np.testing.assert_array_equal(run.x_adv, x)


# ---- too few classes


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("name", [n for n in MAKE if n not in SOURCES])
def test_few_classes_are_enough(table: str, name: str, classes: int) -> None:
    model, x, y = problem(name, classes)
    options = {"classes": 2} if name == "Substitute" and classes < 3 else {}
    run = MAKE[name](**options).run(model, x, y)
    np.testing.assert_array_equal(run.success, np.asarray(model.predict(run.x_adv)) != y)
    assert run.success.any()


@pytest.mark.parametrize("name", having("loss", NETWORKS))
def test_the_ratio_of_logits_says_how_many_classes_it_needs(name: str) -> None:
    model, x, y = problem(name, 2)
    with pytest.raises(ValueError, match=r"loss: .*3 classes or more"):
        MAKE[name](loss="dlr")(model, x, y)
    if name == "APGD":
        model, x, y = problem(name, 3)
        with pytest.raises(ValueError, match=r"loss: .*4 classes or more"):
            MAKE[name](loss="dlr", targets=1)(model, x, y)


@pytest.mark.parametrize("name", having("targets"))
def test_more_targets_than_other_classes_are_refused_or_all_of_them(name: str) -> None:
    model, x, y = problem(name)
    if name != "FAB":
        with pytest.raises(ValueError, match="targets: wanted at most 4"):
            MAKE[name](targets=CLASSES)(model, x, y)
        return
    for targets in (CLASSES - 1, CLASSES, 100):
        run = MAKE[name](targets=targets).run(model, x, y)
        np.testing.assert_array_equal(run.success, np.asarray(model.predict(run.x_adv)) != y)


# ---- models that fail


BROKEN = np.array([2, 3, 9])


class Failing:
    """A network's logits, NaN in rows that carry a mark in their first pixel, which attacks may not change."""

    def __init__(self, value: float = np.nan) -> None:
        self.model, self.value = network(), value

    def marked(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), -1)[:, 0] == 1

    def logits(self, x: np.ndarray) -> np.ndarray:
        return np.where(self.marked(x)[:, None], self.value, np.asarray(self.model(x)))

    def gradient(self, x: np.ndarray, dlogits: np.ndarray) -> np.ndarray:
        jacobian = np.asarray(self.model.jacobian(x)).reshape(len(x), CLASSES, FEATURES)
        return np.einsum("nk,nkf->nf", dlogits, jacobian).reshape(x.shape).astype(np.float32)

    def source(self) -> Any:
        return eb.CallableModel(self.logits, self.gradient, classes=CLASSES)


def failing_problem(value: float = np.nan) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """(source, rows, labels, mask): the rows BROKEN carry the mark, and no attack can put it on or take it off."""
    failing, x = Failing(value), images()
    x[:, 0, 0, 0] = 0.5
    mask = np.ones(SHAPE, np.float32)
    mask[0, 0, 0] = 0
    y = np.asarray(failing.model.predict(x))
    x[BROKEN, 0, 0, 0] = 1
    return failing.source(), x, y, mask


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", having("mask", [n for n in NETWORKS if n not in WHOLE]))
def test_rows_for_which_the_model_gives_nan_are_reported_and_the_rest_finish(name: str, value: float) -> None:
    model, x, y, mask = failing_problem(value)
    attack = MAKE[name](mask=mask)
    with pytest.raises(A.BrokenRows, match=r"CallableModel.*3 of 12 rows failed") as caught:
        attack.run(model, x, y)
    error = caught.value
    np.testing.assert_array_equal(error.rows, BROKEN)
    rest = np.setdiff1d(np.arange(ROWS), BROKEN)
    alone = attack.run(model, x[rest], y[rest], index=rest)
    np.testing.assert_array_equal(np.asarray(error.result.x_adv)[rest], alone.x_adv)
    np.testing.assert_array_equal(error.result.success[rest], alone.success)
    np.testing.assert_array_equal(error.result.x_adv[BROKEN], x[BROKEN])
    assert not error.result.success[BROKEN].any()
    assert set(error.result.reason[BROKEN]) == {"the model gave something that is not finite"}
    copy = pickle.loads(pickle.dumps(error))
    np.testing.assert_array_equal(copy.rows, BROKEN)
    with pytest.raises(A.BrokenRows):
        attack(model, x, y)


def test_options_per_row_stay_with_their_rows_when_others_fail() -> None:
    model, x, y, mask = failing_problem()
    eps, size = np.linspace(0.05, 0.3, ROWS), np.linspace(0.01, 0.1, ROWS)
    masks = np.broadcast_to(mask, x.shape).copy()
    masks[::2, 0, 1] = 0
    options = {"steps": 4, "restarts": 2, "seed": 5}
    with pytest.raises(A.BrokenRows) as caught:
        A.PGD(eps, step_size=size, mask=masks, **options).run(model, x, y, trace=True)
    rest = np.setdiff1d(np.arange(ROWS), BROKEN)
    alone = A.PGD(eps[rest], step_size=size[rest], mask=masks[rest], **options)
    wanted = alone.run(model, x[rest], y[rest], index=rest, trace=True)
    result = caught.value.result
    np.testing.assert_array_equal(result.x_adv[rest], wanted.x_adv)
    np.testing.assert_array_equal(result.trace[rest], wanted.trace)
    assert np.isnan(result.trace[BROKEN]).all()


def test_a_model_that_always_fails_fails_every_row() -> None:
    model, x, y, mask = failing_problem()
    with pytest.raises(A.BrokenRows, match="3 of 3 rows failed") as caught:
        eb.pgd(model, x[BROKEN], y[BROKEN], eps=0.1, mask=mask)
    np.testing.assert_array_equal(caught.value.rows, [0, 1, 2])
    np.testing.assert_array_equal(caught.value.result.x_adv, x[BROKEN])


def test_rows_that_overflow_the_engines_own_models_are_reported(table: str) -> None:
    model = constant_model(FEATURES, CLASSES)
    model.load_parameters({n: np.full_like(p, 1e38) for n, p in model.parameters().items()})
    x = np.zeros((4, *SHAPE), np.float32)
    x[2] = 1  # 17e38 is more than float32 holds
    with pytest.raises(A.BrokenRows, match="model: it gave a logit that is not finite for row 2") as caught:
        A.FGSM(0.0).run(model, x, np.zeros(4, np.int64))
    np.testing.assert_array_equal(caught.value.rows, [2])
    np.testing.assert_array_equal(caught.value.result.x_adv, x)


@pytest.mark.parametrize("name", NETWORKS)
def test_attacks_that_need_scores_alone_are_those_that_run_on_a_model_without_gradients(name: str) -> None:
    model, x, y = problem(name)
    scores = eb.CallableModel(model, None, SHAPE, CLASSES)
    if getattr(A, name).needs == "gradients":
        with pytest.raises(TypeError, match=r"needs gradients|input_gradient"):
            MAKE[name]().run(scores, x, y)
    else:
        np.testing.assert_array_equal(MAKE[name]().run(scores, x, y).success, MAKE[name]().run(model, x, y).success)


@pytest.mark.parametrize("name", [n for n in MAKE if getattr(A, n).needs == "labels"])
def test_a_label_source_that_raises_midway_leaves_what_was_found(name: str) -> None:
    model, x, y = problem(name)
    whole = eb.LabelOracle(lambda rows: model.predict(rows), classes=CLASSES)
    MAKE[name]().run(whole, x, y)
    calls = 0

    def predict(rows: Any) -> Any:
        nonlocal calls
        calls += len(rows)
        if calls > whole.queries - ROWS // 2:
            raise ConnectionError("the line is dead")
        return model.predict(rows)

    with pytest.raises(A.AttackStopped, match="LabelOracle raised ConnectionError: the line is dead") as caught:
        MAKE[name]().run(eb.LabelOracle(predict, classes=CLASSES), x, y)
    assert isinstance(caught.value.__cause__, ConnectionError)
    result = caught.value.result
    assert result.x_adv.shape == x.shape
    found = result.success
    np.testing.assert_array_equal(np.asarray(model.predict(result.x_adv))[found] != y[found], True)
    assert (result.reason[~found] != "").all()


@EACH
def test_labels_of_another_length_or_range_are_named(name: str) -> None:
    model, x, y = problem(name)
    for bad in (y[:-1], np.append(y, 0), y - 10):
        with pytest.raises((ValueError, TypeError), match=r"\by\b"):
            MAKE[name]()(model, x, bad)


@EACH
def test_what_is_no_model_is_named(name: str) -> None:
    for bad in (None, "model", object()):
        with pytest.raises(TypeError, match=r"\bmodel\b"):
            MAKE[name]()(bad, images(), labels(ROWS, CLASSES))
