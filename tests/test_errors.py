"""Bad input is a ValueError or TypeError that names the argument; it is never a crash and never silence."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels, pair

FEATURES, CLASSES, ROWS = 9, 4, 6
A = eb.attacks


def fixed() -> tuple[Any, np.ndarray, np.ndarray]:
    model, _ = pair([FEATURES, 5, CLASSES], "tanh")
    return model, batch(ROWS, FEATURES), labels(ROWS, CLASSES)


def rejects(argument: str, call: Callable[[], Any]) -> None:
    """The call raises, and the message has the argument's name as a word."""
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    message = str(caught.value)
    assert re.search(rf"\b{re.escape(argument)}\b", message), f"{argument!r} not named in: {message}"
    assert len(message) > len(argument) + 10, f"says too little: {message}"


def changed(x: np.ndarray, value: float) -> np.ndarray:
    out = x.copy()
    out[2, 3] = value
    return out


BAD_X: dict[str, Callable[[np.ndarray], Any]] = {
    "integers": lambda x: (255 * x).astype(np.uint8),
    "int64": lambda x: np.ones_like(x, dtype=np.int64),
    "bool": lambda x: x > 0.5,
    "complex": lambda x: x.astype(np.complex64),
    "strings": lambda x: np.full(x.shape, "a"),
    "objects": lambda x: x.astype(object),
    "too few features": lambda x: x[:, 1:],
    "too many features": lambda x: np.concatenate([x, x], axis=1),
    "one dimension": lambda x: x[0],
    "no dimension": lambda x: np.float32(0.5),
    "None": lambda x: None,
    "nan": lambda x: changed(x, np.nan),
    "inf": lambda x: changed(x, np.inf),
    "minus inf": lambda x: changed(x, -np.inf),
}


@pytest.mark.parametrize("bad", BAD_X.values(), ids=BAD_X.keys())
def test_bad_x_is_named_everywhere(bad: Callable[[np.ndarray], Any]) -> None:
    model, x, y = fixed()
    wrong = bad(x)
    rejects("x", lambda: model(wrong))
    rejects("x", lambda: model.predict(wrong))
    rejects("x", lambda: model.probabilities(wrong))
    rejects("x", lambda: model.jacobian(wrong))
    rejects("x", lambda: model.loss(wrong, y))
    rejects("x", lambda: model.input_gradient(wrong, y))
    rejects("x", lambda: model.parameter_gradients(wrong, y))
    rejects("x", lambda: eb.fgsm(model, wrong, y, eps=0.1))
    rejects("x", lambda: eb.pgd(model, wrong, y, eps=0.1))
    rejects("x", lambda: A.BIM(eps=0.1)(model, wrong, y))
    rejects("x", lambda: A.ILCM(eps=0.1)(model, wrong, y))
    rejects("x", lambda: A.RFGSM(eps=0.1)(model, wrong, y))
    for attack in (
        A.DDN(),
        A.FMN(),
        A.DeepFool(),
        A.NewtonFool(),
        A.FAB(),
        A.CarliniWagner(),
        A.CarliniWagner(norm="linf"),
        A.CarliniWagner(norm="l0"),
        A.LBFGS(),
        A.VirtualAdversarial(eps=0.1),
        A.Universal(eps=0.1),
        A.FeatureAddition(k=3),
        A.FeatureDeletion(k=3),
        A.EAD(),
        A.JSMA(),
        A.Boundary(),
        A.HopSkipJump(),
        A.Pointwise(),
    ):
        rejects("x", lambda attack=attack: attack(model, wrong, y))
    rejects("x", lambda: eb.fit(model, wrong, y, epochs=1))
    rejects("x", lambda: eb.evaluate(model, wrong, y, attacks=[A.FGSM(eps=0.1)]))


@pytest.mark.parametrize("value", [-0.01, 1.01, 255.0, -1e-7, np.nextafter(np.float32(1), np.float32(2))])
def test_x_outside_the_bounds_is_refused(value: float) -> None:
    model, x, y = fixed()
    for attack in (
        A.FGSM(eps=0.1),
        A.PGD(eps=0.1),
        A.BIM(eps=0.1),
        A.RFGSM(eps=0.1),
        A.ILCM(eps=0.1),
        A.DDN(),
        A.FMN(),
        A.DeepFool(),
        A.NewtonFool(),
        A.FAB(),
        A.CarliniWagner(),
        A.CarliniWagner(norm="linf"),
        A.CarliniWagner(norm="l0"),
        A.LBFGS(),
        A.VirtualAdversarial(eps=0.1),
        A.Universal(eps=0.1),
        A.FeatureAddition(k=3),
        A.FeatureDeletion(k=3),
        A.EAD(),
        A.JSMA(),
        A.Boundary(),
        A.HopSkipJump(),
        A.Pointwise(),
    ):
        with pytest.raises(ValueError, match="bounds"):
            attack(model, changed(x, value), y)
    A.FGSM(eps=0.1, bounds=None)(model, changed(x, value), y)
    A.FGSM(eps=0.1, bounds=(-1.0, 256.0))(model, changed(x, value), y)


BAD_Y: dict[str, Callable[[np.ndarray], Any]] = {
    "too large": lambda y: np.where(np.arange(ROWS) == 2, CLASSES, y),
    "negative": lambda y: np.where(np.arange(ROWS) == 2, -1, y),
    "huge": lambda y: np.where(np.arange(ROWS) == 2, 2**40, y),
    "wrapping": lambda y: np.where(np.arange(ROWS) == 2, 2**32, y),
    "too short": lambda y: y[:-1],
    "too long": lambda y: np.append(y, 0),
    "floats": lambda y: y.astype(np.float32),
    "strings": lambda y: y.astype(str),
    "scalar": lambda y: 1,
    "column": lambda y: y[:, None],
    "wrong width": lambda y: np.full((ROWS, CLASSES + 1), 1 / (CLASSES + 1), np.float32),
    "negative probability": lambda y: np.tile(np.array([1.5, -0.5, 0, 0], np.float32), (ROWS, 1)),
    "not summing to one": lambda y: np.full((ROWS, CLASSES), 0.7, np.float32),
    "nan probability": lambda y: np.full((ROWS, CLASSES), np.nan, np.float32),
}


@pytest.mark.parametrize("bad", BAD_Y.values(), ids=BAD_Y.keys())
def test_bad_y_is_named_everywhere(bad: Callable[[np.ndarray], Any]) -> None:
    model, x, y = fixed()
    wrong = bad(y)
    rejects("y", lambda: model.loss(x, wrong))
    rejects("y", lambda: model.input_gradient(x, wrong))
    rejects("y", lambda: model.parameter_gradients(x, wrong))
    rejects("y", lambda: eb.fgsm(model, x, wrong, eps=0.1))
    rejects("y", lambda: eb.pgd(model, x, wrong, eps=0.1))
    rejects("y", lambda: eb.fit(model, x, wrong, epochs=1))


def test_labels_in_a_floating_point_dtype_are_told_their_dtype() -> None:
    model, x, y = fixed()
    with pytest.raises(
        ValueError, match=r"^y: wanted integer class indices of shape \(6,\).*, got float64 of shape \(6,\)$"
    ):
        eb.pgd(model, x, y.astype(float), eps=0.1)


def test_labels_of_a_one_logit_model_are_zero_or_one() -> None:
    model, _ = pair([FEATURES, 1])
    x = batch(ROWS, FEATURES)
    for wrong in (2, -1):
        rejects("y", lambda wrong=wrong: model.loss(x, np.full(ROWS, wrong)))
        rejects("y", lambda wrong=wrong: eb.fgsm(model, x, np.full(ROWS, wrong), eps=0.1))


@pytest.mark.parametrize("loss", ["margin", "hinge", "crammer_singer"])
def test_margins_and_hinges_take_no_probabilities(loss: str) -> None:
    model, x, y = fixed()
    soft = np.eye(CLASSES, dtype=np.float32)[y]
    rejects("y", lambda: model.loss(x, soft, loss=loss))
    rejects("y", lambda: eb.fgsm(model, x, soft, eps=0.1, loss=loss))


def test_labels_are_required_where_nothing_can_stand_in() -> None:
    model, x, _ = fixed()
    rejects("y", lambda: eb.fgsm(model, x, eps=0.1, targeted=True))
    rejects("y", lambda: A.PGD(eps=0.1, targeted=True)(model, x))
    rejects("y", lambda: A.BIM(eps=0.1, targeted=True)(model, x))


MAKERS: dict[str, Callable[..., Any]] = {
    "FGSM": A.FGSM,
    "RFGSM": A.RFGSM,
    "BIM": A.BIM,
    "ILCM": A.ILCM,
    "PGD": A.PGD,
    "MomentumPGD": A.MomentumPGD,
    "AdamPGD": A.AdamPGD,
    "APGD": A.APGD,
    "Square": A.Square,
    "RandomSearch": A.RandomSearch,
    "SPSA": A.SPSA,
    "NES": A.NES,
}
BAD_OPTIONS: list[tuple[str, Any]] = [
    ("eps", -0.1),
    ("eps", -1e-12),
    ("eps", float("nan")),
    ("eps", "a lot"),
    ("eps", None),
    ("eps", np.full(ROWS + 1, 0.1)),
    ("eps", np.full((ROWS, 1), 0.1)),
    ("eps", np.where(np.arange(ROWS) == 3, -0.1, 0.1)),
    ("eps", np.where(np.arange(ROWS) == 3, np.nan, 0.1)),
    ("norm", "l7"),
    ("norm", 2),
    ("loss", "zero_one"),
    ("loss", None),
    ("bounds", (1.0, 0.0)),
    ("bounds", (0.0, float("nan"))),
    ("bounds", (0.0, 1.0, 2.0)),
    ("bounds", 1.0),
    ("bounds", (np.zeros(FEATURES + 1), np.ones(FEATURES + 1))),
    ("mask", np.ones(FEATURES + 1)),
    ("mask", np.ones((ROWS + 1, FEATURES))),
    ("mask", np.full(FEATURES, 0.5)),
    ("mask", np.full(FEATURES, np.nan)),
]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(("argument", "value"), BAD_OPTIONS, ids=lambda v: str(v)[:24].replace("\n", " "))
def test_bad_options_are_named_by_every_attack(name: str, argument: str, value: Any) -> None:
    model, x, y = fixed()
    options = {"eps": 0.1, argument: value}
    if argument == "loss" and value is None and name == "Square":
        pytest.skip("None is Square's default")
    if name == "RFGSM" and argument == "norm":
        pytest.skip("RFGSM knows one norm; test_rfgsm.py asks about it")
    rejects(argument, lambda: MAKERS[name](**options)(model, x, y))


BAD_LOOPS: list[tuple[str, str, Any]] = [
    *((name, "steps", v) for name in ("BIM", "ILCM", "PGD") for v in (-1, 2.5, "ten", None)),
    *((name, "step_size", v) for name in ("BIM", "ILCM", "PGD") for v in (-0.1, float("nan"), "small")),
    *((name, "restarts", v) for name in ("PGD", "APGD") for v in (0, -1, 1.5)),
    *(("APGD", "targets", v) for v in (-1, 1.5, None)),
    *(("RandomSearch", "draws", v) for v in (0, 1.5)),
    *(("PGD", "seed", v) for v in (1.5, "lucky")),
    *(("RFGSM", "alpha", v) for v in (-0.1, float("nan"), 0.2)),  # 0.2 is more than eps
]


def test_restarts_that_would_all_be_the_same_are_refused() -> None:
    rejects("restarts", lambda: eb.attacks.PGD(eps=0.1, restarts=2, random_start=False))
    rejects("restarts", lambda: eb.pgd(*fixed(), eps=0.1, restarts=2, random_start=False))


@pytest.mark.parametrize(("name", "argument", "value"), BAD_LOOPS)
def test_bad_loop_options_are_named(name: str, argument: str, value: Any) -> None:
    model, x, y = fixed()
    rejects(argument, lambda: MAKERS[name](**{"eps": 0.1, argument: value})(model, x, y))


@pytest.mark.parametrize("index", [np.arange(ROWS + 1), np.arange(ROWS) + 0.5, np.arange(ROWS) - 1, 3])
def test_bad_index_is_named(index: Any) -> None:
    model, x, y = fixed()
    rejects("index", lambda: A.PGD(eps=0.1)(model, x, y, index=index))


def test_unknown_options_are_refused_by_name() -> None:
    model, x, y = fixed()
    rejects("epsilon", lambda: eb.fgsm(model, x, y, epsilon=0.1))
    rejects("epsilon", lambda: A.PGD(epsilon=0.1))


@pytest.mark.parametrize("bad", [None, "model", object(), np.zeros((3, 3))], ids=lambda bad: type(bad).__name__)
def test_what_is_not_a_model_is_refused(bad: Any) -> None:
    _, x, y = fixed()
    rejects("model", lambda: eb.fgsm(bad, x, y, eps=0.1))
    rejects("model", lambda: A.PGD(eps=0.1)(bad, x, y))


@pytest.mark.parametrize("loss", ["zero_one", None, 3])
def test_unknown_loss_is_named_by_the_model(loss: Any) -> None:
    model, x, y = fixed()
    rejects("loss", lambda: model.loss(x, y, loss=loss))
    rejects("loss", lambda: model.input_gradient(x, y, loss=loss))


# ---- parameters and architecture


def test_bad_parameters_are_named_and_change_nothing() -> None:
    model, x, _ = fixed()
    good, before = model.parameters(), np.array(model(x))
    first = next(iter(good))
    cases: dict[str, dict[str, Any]] = {
        "nan": {**good, first: np.full_like(good[first], np.nan)},
        "inf": {**good, first: np.full_like(good[first], np.inf)},
        "overflow": {**good, first: np.full(good[first].shape, 1e300)},
        "shape": {**good, first: good[first].T},
        "missing": {n: p for n, p in good.items() if n != first},
        "strings": {**good, first: np.full(good[first].shape, "a")},
    }
    for parameters in cases.values():
        rejects(first, lambda parameters=parameters: model.load_parameters(parameters))
        np.testing.assert_array_equal(model(x), before)
    rejects("9.weight", lambda: model.load_parameters({**good, "9.weight": np.zeros(3)}))
    np.testing.assert_array_equal(model(x), before)


def test_bad_architectures_are_refused() -> None:
    rejects("features", lambda: eb.models.linear(0, 10))
    rejects("classes", lambda: eb.models.linear(5, 0))
    rejects("sizes", lambda: eb.models.mlp([5]))
    rejects("sizes", lambda: eb.models.mlp([5, 0, 3]))
    rejects("sizes", lambda: eb.models.mlp([5, -2, 3]))
    rejects("activation", lambda: eb.models.mlp([5, 4, 3], activation="swishy"))
    rejects("dropout", lambda: eb.models.mlp([5, 4, 3], dropout=1.0))
    rejects("dropout", lambda: eb.models.mlp([5, 4, 3], dropout=-0.1))
    rejects("layers", lambda: eb.Sequential([], input_shape=(5,)))
    rejects("layers", lambda: eb.Sequential([eb.Linear(5, 4), eb.Linear(3, 2)], input_shape=(5,)))
    rejects("layers", lambda: eb.Sequential([eb.Linear(5, 4), "relu"], input_shape=(5,)))
    rejects("input_shape", lambda: eb.Sequential([eb.Linear(5, 4)], input_shape=(6,)))
    rejects("input_shape", lambda: eb.Sequential([eb.Linear(5, 4)], input_shape=(0,)))


@pytest.mark.parametrize("sizes", [(2**31 - 1, 2**31 - 1), (10, 2**31 - 1, 2**31 - 1, 3)])
def test_a_layer_that_no_memory_holds_is_named(sizes: tuple[int, ...]) -> None:
    with pytest.raises(MemoryError, match=r"^layers: layer \d \(linear\) does not fit into memory$"):
        eb.models.mlp(sizes)


def test_more_numbers_than_the_engine_counts_to_are_an_error_that_names_where() -> None:
    rejects("features", lambda: eb.models.linear(2**31, 10))
    rejects("input_shape", lambda: eb.Sequential([eb.Conv2d(1, 1, 1), eb.Flatten()], input_shape=(1, 2**16, 2**16)))
    wide = [eb.Conv2d(1, 2**11, 1), eb.ReLU(), eb.Flatten()]
    with pytest.raises(ValueError, match=r"^layers: layer 0 \(Conv2d.*numbers"):
        eb.Sequential(wide, input_shape=(1, 2**10, 2**10))


def test_images_with_their_axes_in_another_order_are_refused() -> None:
    """Rows of the right number of values are taken in any other shape; those would be read scrambled."""
    model = eb.Sequential([eb.Conv2d(3, 2, 3), eb.Flatten(), eb.Linear(2 * 3 * 5, 4)], input_shape=(3, 5, 7))
    x, y = np.full((2, 3, 5, 7), 0.5, np.float32), np.array([0, 1])
    source = eb.CallableModel(model, input_shape=(3, 5, 7), classes=4)
    for axes in [(0, 2, 3, 1), (0, 1, 3, 2)]:
        scrambled = x.transpose(axes)
        calls: list[Callable[[], Any]] = [
            lambda a=scrambled: model(a),
            lambda a=scrambled: model.predict(a),
            lambda a=scrambled: model.loss(a, y),
            lambda a=scrambled: model.jacobian(a),
            lambda a=scrambled: model.parameter_gradients(a, y),
            lambda a=scrambled: model.output_bounds(a, a),
            lambda a=scrambled: eb.pgd(model, a, y, eps=0.1),
            lambda a=scrambled: eb.attacks.DDN()(model, a, y),
            lambda a=scrambled: eb.attacks.Square(eps=0.1)(source, a, y),
            lambda a=scrambled: eb.fit(model, a, y, epochs=1),
            lambda a=scrambled: eb.evaluate(model, a, y, attacks=[eb.attacks.FGSM(eps=0.1)]),
        ]
        for call in calls:
            rejects("x", call)
    np.testing.assert_array_equal(model(x.reshape(2, -1)), model(x))


def test_axes_of_one_may_stand_anywhere_in_images() -> None:
    model = eb.models.cnn((1, 28, 28), classes=10)
    x = np.linspace(0, 1, 2 * 784, dtype=np.float32).reshape(2, 1, 28, 28)
    np.testing.assert_array_equal(model(x.reshape(2, 28, 28, 1)), model(x))


# ---- operators, training, evaluation


def test_bad_arguments_of_ops_are_named_and_change_nothing() -> None:
    x = batch(ROWS, FEATURES)
    g = np.ones_like(x)
    step, project = eb.ops.sign_step_, eb.ops.project_
    start = x.copy()
    rejects("grad", lambda: step(start, g[:, 1:], x, step_size=0.1, eps=0.3, bounds=(0, 1)))
    rejects("grad", lambda: step(start, g.astype(np.int32), x, step_size=0.1, eps=0.3, bounds=(0, 1)))
    rejects("x", lambda: step(start, g, x[:-1], step_size=0.1, eps=0.3, bounds=(0, 1)))
    rejects("x_adv", lambda: step(start.astype(np.int64), g, x, step_size=0.1, eps=0.3, bounds=(0, 1)))
    rejects("x_adv", lambda: step(start.tolist(), g, x, step_size=0.1, eps=0.3, bounds=(0, 1)))
    rejects("eps", lambda: step(start, g, x, step_size=0.1, eps=-0.3, bounds=(0, 1)))
    rejects("step_size", lambda: step(start, g, x, step_size=float("nan"), eps=0.3, bounds=(0, 1)))
    rejects("bounds", lambda: step(start, g, x, step_size=0.1, eps=0.3, bounds=(1, 0)))
    rejects("norm", lambda: project(start, x, eps=0.3, norm="l3", bounds=(0, 1)))
    rejects("eps", lambda: project(start, x, eps=float("nan"), norm="l2", bounds=(0, 1)))
    rejects("x", lambda: project(start, x[:, 1:], eps=0.3, norm="l2", bounds=(0, 1)))
    np.testing.assert_array_equal(start, x)
    frozen = x.copy()
    frozen.flags.writeable = False
    rejects("x_adv", lambda: project(frozen, x, eps=0.3, norm="l2", bounds=(0, 1)))
    rejects("x_adv", lambda: step(frozen, g, x, step_size=0.1, eps=0.3, bounds=(0, 1)))


def test_bad_arguments_of_fit_are_named() -> None:
    model, x, y = fixed()
    before = model.parameters()
    rejects("epochs", lambda: eb.fit(model, x, y, epochs=-1))
    rejects("epochs", lambda: eb.fit(model, x, y, epochs=1.5))
    rejects("batch_size", lambda: eb.fit(model, x, y, epochs=1, batch_size=0))
    rejects("method", lambda: eb.fit(model, x, y, epochs=1, method="pgd"))
    rejects("optimizer", lambda: eb.fit(model, x, y, epochs=1, optimizer="adam"))
    rejects("loss", lambda: eb.fit(model, x, y, epochs=1, loss="zero_one"))
    rejects("validation", lambda: eb.fit(model, x, y, epochs=1, validation=(x,)))
    rejects("validation", lambda: eb.fit(model, x, y, epochs=1, validation=(x, y[:-1])))
    rejects("x", lambda: eb.fit(model, x[:0], y[:0], epochs=1))
    T = eb.training
    rejects("lr", lambda: eb.fit(model, x, y, epochs=1, optimizer=T.SGD(lr=-0.1)))
    rejects("momentum", lambda: eb.fit(model, x, y, epochs=1, optimizer=T.SGD(momentum=1.5)))
    rejects("weight_decay", lambda: eb.fit(model, x, y, epochs=1, optimizer=T.Adam(weight_decay=-1.0)))
    rejects("betas", lambda: eb.fit(model, x, y, epochs=1, optimizer=T.Adam(betas=(1.0, 0.9))))
    rejects("alpha", lambda: eb.fit(model, x, y, epochs=1, method=T.FGSMTraining(alpha=1.5)))
    rejects("eps", lambda: eb.fit(model, x, y, epochs=1, method=T.PGDTraining(eps=-0.1)))
    for name, p in model.parameters().items():
        np.testing.assert_array_equal(p, before[name])


def test_bad_arguments_of_evaluate_are_named() -> None:
    model, x, y = fixed()
    rejects("attacks", lambda: eb.evaluate(model, x, y, attacks=["pgd"]))
    rejects("y", lambda: eb.evaluate(model, x, y[:-1], attacks=[A.FGSM(eps=0.1)]))


@pytest.mark.parametrize("bad", [{}, {"name": "Teleport"}, {"attack": "PGD", "eps": 0.1, "warp": 9}, []])
def test_bad_configurations_are_refused(bad: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        A.from_dict(bad)


def test_unknown_data_sets_are_named() -> None:
    rejects("name", lambda: eb.datasets.load("mnist-superset"))
    rejects("split", lambda: eb.datasets.load("mnist-subset", split="dev"))


# ---- nothing to do


@pytest.mark.parametrize("name", MAKERS)
def test_empty_batch_gives_empty_results(table: str, name: str) -> None:
    model, x, y = fixed()
    for dtype in (np.float32, np.float64):
        run = MAKERS[name](eps=0.1).run(model, x[:0].astype(dtype), y[:0])
        assert run.x_adv.shape == (0, FEATURES)
        assert run.x_adv.dtype == dtype
        for field in ("success", "distance", "queries", "loss", "zero_gradient"):
            assert getattr(run, field).shape == (0,)


def test_empty_batch_gives_empty_model_outputs(table: str) -> None:
    model, x, y = fixed()
    assert model(x[:0]).shape == (0, CLASSES)
    assert model.predict(x[:0]).shape == (0,)
    assert model.probabilities(x[:0]).shape == (0, CLASSES)
    assert model.loss(x[:0], y[:0]).shape == (0,)
    assert model.input_gradient(x[:0], y[:0]).shape == (0, FEATURES)
    assert model.jacobian(x[:0]).shape == (0, CLASSES, FEATURES)
    eb.ops.project_(x[:0].copy(), x[:0], eps=0.1, norm="l2", bounds=(0, 1))


def test_engine_still_works_after_every_refusal(table: str) -> None:
    model, x, y = fixed()
    wanted = np.asarray(eb.pgd(model, x, y, eps=0.1, steps=3))
    for bad in (BAD_X["nan"](x), BAD_X["too few features"](x)):
        with pytest.raises(ValueError, match=r"\bx\b"):
            eb.pgd(model, bad, y, eps=0.1, steps=3)
    np.testing.assert_array_equal(eb.pgd(model, x, y, eps=0.1, steps=3), wanted)


CONV, POOL = eb.Conv2d(3, 2, 3), eb.MaxPool2d(2)
MISFITS: dict[str, tuple[list[Any], tuple[int, ...], str]] = {
    "sum of two shapes": ([eb.Residual([CONV])], (3, 5, 5), r"layer 0 \(Residual.*\(2, 3, 3\).*\(3, 5, 5\)"),
    "inside a block": ([eb.Residual([CONV, CONV])], (3, 9, 9), r"layer 0\.body\.1 \(Conv2d.*3 channels.*\(2, 7, 7\)"),
    "wrong channels": ([CONV], (1, 5, 5), r"layer 0 \(Conv2d.*input_shape.*3 channels.*\(1, 5, 5\)"),
    "wrong channels above": ([CONV, CONV], (3, 9, 9), r"layer 1 \(Conv2d.*the layer below.*3 channels.*\(2, 7, 7\)"),
    "no image": ([CONV], (75,), r"layer 0 \(Conv2d.*images.*\(75,\)"),
    "no image for a pool": ([POOL], (5, 5), r"layer 0 \(MaxPool2d.*images.*\(5, 5\)"),
    "no image after Flatten": ([eb.Flatten(), CONV], (3, 5, 5), r"layer 1 \(Conv2d.*images.*\(75,\)"),
    "no image after Linear": ([eb.Linear(75, 75), POOL], (3, 5, 5), r"layer 1 \(MaxPool2d.*images.*\(75,\)"),
    "too many dimensions": ([POOL], (1, 3, 5, 5), r"images.*\(1, 3, 5, 5\)"),
    "kernel larger than the image": ([CONV], (3, 2, 5), r"kernel of \(3, 3\).*larger than the padded.*\(3, 2, 5\)"),
    "kernel larger across": ([eb.Conv2d(3, 2, (3, 8), padding=1)], (3, 5, 5), r"kernel of \(3, 8\).*\(3, 5, 5\)"),
    "window larger than the image": ([CONV, POOL], (3, 3, 3), r"layer 1 \(MaxPool2d.*kernel.*\(2, 1, 1\)"),
    "batch norm of other channels": ([CONV, eb.BatchNorm2d(3)], (3, 5, 5), r"layer 1 \(BatchNorm2d.*3 channels"),
    "batch norm of features, on images": ([eb.BatchNorm1d(3)], (3, 5, 5), r"layer 0 \(BatchNorm1d.*3 features"),
    "batch norm of images, on features": ([eb.BatchNorm2d(3)], (3,), r"layer 0 \(BatchNorm2d.*images.*\(3,\)"),
    "batch norm of other features": ([eb.Linear(4, 5), eb.BatchNorm1d(4)], (4,), r"layer 1 \(BatchNorm1d.*4 features"),
    "mean of other channels": ([eb.Normalize((0.1, 0.2), 0.5)], (3, 2, 2), r"layer 0 \(Normalize.*2 means"),
    "std of other channels": ([eb.Normalize(0.1, (0.2,) * 4)], (3, 2, 2), r"layer 0 \(Normalize.*4 standard"),
    "features of a linear layer": ([CONV, eb.Linear(9, 2)], (3, 5, 5), r"layer 1 \(Linear.*9 features.*18"),
}


@pytest.mark.parametrize(("layers", "shape", "message"), MISFITS.values(), ids=MISFITS.keys())
def test_layers_of_images_that_do_not_fit_are_named(layers: list[Any], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=r"^layers: .*" + message):
        eb.Sequential(layers, input_shape=shape)
