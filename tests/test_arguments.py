"""Arguments are checked where they are given, and kept as they were given."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels

A, T = eb.attacks, eb.training
INF = float("inf")
MAKERS: dict[str, Callable[..., Any]] = {
    "PGD": lambda **o: A.PGD(**{"eps": 0.1, **o}),
    "FGSM": lambda **o: A.FGSM(**{"eps": 0.1, **o}),
    "BIM": lambda **o: A.BIM(**{"eps": 0.1, **o}),
    "ILCM": lambda **o: A.ILCM(**{"eps": 0.1, **o}),
    "RFGSM": lambda **o: A.RFGSM(**{"eps": 0.1, **o}),
    "LinearExact": lambda **o: A.LinearExact(**{"eps": 0.1, **o}),
    "PGDTraining": T.PGDTraining,
    "FGSMTraining": T.FGSMTraining,
    **{
        name: getattr(T, name)
        for name in (
            "ALP",
            "CLP",
            "Distillation",
            "DoubleBackprop",
            "FastTraining",
            "FreeTraining",
            "IBPTraining",
            "LabelSmoothing",
            "LinearTraining",
            "LogitSqueezing",
            "MART",
            "NoiseTraining",
            "RFGSMTraining",
            "SmoothingTraining",
            "TRADES",
            "VAT",
        )
    },
    "EnsembleTraining": lambda **o: T.EnsembleTraining(**{"models": (eb.models.linear(3, 2),), **o}),
    "SGD": T.SGD,
    "Adam": T.Adam,
    "AdamW": T.AdamW,
    "Step": lambda **o: T.Step(**{"every": 1, **o}),
    "Cosine": T.Cosine,
    "Cyclic": T.Cyclic,
    "Piecewise": T.Piecewise,
    "WarmUp": T.WarmUp,
    "Linear": lambda **o: eb.Linear(**{"in_features": 3, "out_features": 2, **o}),
    "Conv2d": lambda **o: eb.Conv2d(**{"in_channels": 3, "out_channels": 2, "kernel_size": 3, **o}),
    "MaxPool2d": lambda **o: eb.MaxPool2d(**{"kernel_size": 3, **o}),
    "AvgPool2d": lambda **o: eb.AvgPool2d(**{"kernel_size": 3, **o}),
    "BatchNorm1d": lambda **o: eb.BatchNorm1d(**{"num_features": 3, **o}),
    "BatchNorm2d": lambda **o: eb.BatchNorm2d(**{"num_features": 3, **o}),
    "Normalize": lambda **o: eb.Normalize(**{"mean": 0.5, "std": 0.5, **o}),
    "cnn": eb.models.cnn,
    "Residual": lambda **o: eb.Residual(**{"body": [eb.ReLU()], **o}),
    "Dropout": eb.Dropout,
    "LeakyReLU": eb.LeakyReLU,
    "ELU": eb.ELU,
    "linear": lambda **o: eb.models.linear(**{"features": 3, "classes": 2, **o}),
    "mlp": lambda **o: eb.models.mlp(**{"sizes": [3, 4, 2], **o}),
    "evaluate": lambda **o: eb.evaluate(eb.models.linear(3, 2), batch(4, 3), labels(4, 2), [A.FGSM(0.1)], **o),
    "load": eb.load,
    "save": lambda **o: eb.models.linear(3, 2).save(**o),
    "datasets": eb.datasets.load,
    "Sequential": lambda **o: eb.Sequential(**{"layers": [eb.Linear(3, 2)], "input_shape": (3,), **o}),
    "fit": lambda **o: eb.fit(eb.models.linear(3, 2), **{"x": batch(4, 3), "y": labels(4, 2), "epochs": 1, **o}),
}
BAD: list[tuple[str, str, Any]] = [
    *((n, "steps", v) for n in ("PGD", "BIM", "ILCM", "PGDTraining") for v in (2**31, 2**40, 1.5, True)),
    ("PGD", "restarts", 2**31),
    *((n, "early_stop", v) for n in ("PGD", "BIM", "ILCM") for v in ("yes", 1, None)),
    *((n, "targeted", v) for n in ("PGD", "FGSM", "BIM", "RFGSM") for v in ("no", 0)),
    *((n, "random_start", "no") for n in ("PGD", "PGDTraining")),
    *((n, "norm", v) for n in ("PGD", "FGSM", "BIM", "ILCM", "LinearExact", "PGDTraining", "FGSMTraining")
      for v in ("l0", "foo", 3, ["linf"])),
    *((n, "loss", v) for n in ("PGD", "FGSM", "BIM", "ILCM", "RFGSM") for v in ("foo", None, 3)),
    *((n, "seed", v) for n in ("PGD", "RFGSM", "linear", "mlp", "Sequential", "fit") for v in (-1, 2**64, 1.5, None)),
    *((n, "eps", v) for n in ("PGD", "FGSM", "LinearExact") for v in (["a"] * 50, [-0.1], [INF], INF, True, 10**400)),
    *((n, "eps", v) for n in ("PGDTraining", "FGSMTraining", "Adam") for v in (INF, "a", -1, None)),
    *((n, "bounds", v) for n in ("PGD", "PGDTraining", "FGSMTraining") for v in (5, (0,), (0, "a"), (0, float("nan")))),
    *((n, argument, v) for n in ("SGD", "Adam") for argument in ("lr", "weight_decay", "l1") for v in (INF, "a", True)),
    *((n, argument, v) for n in ("SGD", "Adam", "AdamW") for argument in ("clip_norm", "max_norm", "average")
      for v in (INF, "a", True, 0, -1)),
    ("AdamW", "average", 1),
    *(("PGDTraining", "clean_weight", v) for v in (1, -0.1, "a")),
    *((n, "eps", v) for n in ("ALP", "MART", "TRADES", "VAT", "FastTraining", "FreeTraining", "RFGSMTraining",
      "EnsembleTraining") for v in (INF, "a", -1, None)),
    *((n, "bounds", v) for n in ("ALP", "CLP", "LogitSqueezing", "NoiseTraining", "VAT", "FastTraining", "FreeTraining")
      for v in (5, (0,), (0, "a"), (1, 0))),
    *((n, "lam", v) for n in ("ALP", "CLP", "MART", "LogitSqueezing", "VAT", "DoubleBackprop") for v in (-1, INF, "a")),
    *((n, "sigma", v) for n in ("CLP", "LogitSqueezing", "NoiseTraining", "SmoothingTraining") for v in (-1, INF, "a")),
    *((n, "clean_weight", v) for n in ("ALP", "NoiseTraining", "RFGSMTraining", "EnsembleTraining") for v in (1.1, -1)),
    *(("IBPTraining", argument, v) for argument in ("kappa", "warmup", "ramp") for v in (-0.1, 1.1, "a")),
    *(("LinearTraining", "norm", v) for v in ("l0", 3)),
    *((n, "eps", v) for n in ("IBPTraining", "LinearTraining") for v in (INF, "a", -1, None)),
    *(("TRADES", "beta", v) for v in (-1, INF, "a")),
    *(("FGSMTraining", "labels", v) for v in ("least", None, 1)),
    *(("NoiseTraining", "kind", v) for v in ("laplace", None, 1)),
    *(("RFGSMTraining", "alpha", v) for v in (-1, 0.5, "a")),
    *(("FastTraining", "collapse", v) for v in (-1, 1.5, "a")),
    *(("FreeTraining", "replays", v) for v in (0, 1.5, "a")),
    *(("LabelSmoothing", "smoothing", v) for v in (-0.1, 1.1, "a")),
    *(("VAT", "iterations", v) for v in (0, 1.5)),
    *(("VAT", "ramp", v) for v in (1.5, -0.1, "a")),
    *(("VAT", "xi", v) for v in (0, -1, INF)),
    *(("DoubleBackprop", "h", v) for v in (0, -1, INF)),
    *(("Distillation", "temperature", v) for v in (0, -1, INF, "a")),
    *(("Distillation", "teacher", v) for v in (3, "a")),
    *(("EnsembleTraining", "models", v) for v in ((), 3, (3,), None)),
    *(("PGDTraining", "ramp", v) for v in (1.5, -0.1, "a")),
    *(("fit", "patience", v) for v in (0, -1, 1.5, "a", True)),
    ("SGD", "nesterov", "no"),
    *(("Adam", "betas", v) for v in (0.9, (0.9,), (0.9, "a"))),
    *(("Step", "every", v) for v in (0, -1, "3", 1.5)),
    *(("Step", "factor", v) for v in (-1, "a", INF)),
    *(("Cosine", "final", v) for v in ("a", -1, INF)),
    *(("Piecewise", "points", v)
      for v in ((), 3, ((0, 1), (0, 2)), ((0.5, 1), (0.2, 1)), ((0, -1),), ((2, 1),), ((0,),))),
    *(("WarmUp", "epochs", v) for v in (0, -1, INF, "a")),
    *(("WarmUp", "then", v) for v in (3, "cosine")),
    *(("Cyclic", "peak", v) for v in (5, -1, "a", 1)),
    ("Linear", "bias", "no"),
    ("Linear", "in_features", 2.0),
    ("Linear", "out_features", 2**31),
    *(("Conv2d", a, v) for a in ("in_channels", "out_channels") for v in (0, -1, 2.0, "3", None, True, 2**31)),
    *((n, "kernel_size", v) for n in ("Conv2d", "MaxPool2d", "AvgPool2d")
      for v in (0, -1, 2.0, "3", None, True, (3,), (3, 3, 3), (3, 0), (3, 2.5), [[3, 3], 3])),
    *((n, "stride", v) for n in ("Conv2d", "MaxPool2d", "AvgPool2d") for v in (0, -1, 1.5, "1", (1,), (1, 0), (0, 1))),
    ("Conv2d", "stride", None),
    *((n, "padding", v) for n in ("Conv2d", "MaxPool2d", "AvgPool2d") for v in (-1, 0.5, "same", None, (1,), (1, -1))),
    *((n, "padding", v) for n in ("MaxPool2d", "AvgPool2d") for v in (2, (0, 2), (2, 0), 2**30)),
    *(("Conv2d", "bias", v) for v in ("no", None, 1)),
    *((n, "num_features", v) for n in ("BatchNorm1d", "BatchNorm2d") for v in (0, -1, 2.0, "3", None, True, 2**31)),
    *((n, "eps", v) for n in ("BatchNorm1d", "BatchNorm2d") for v in (0, -1e-5, INF, float("nan"), "a", None, 1e-50)),
    *((n, "momentum", v) for n in ("BatchNorm1d", "BatchNorm2d") for v in (-0.1, 1.1, INF, float("nan"), "a", None)),
    *(("Normalize", "mean", v) for v in (INF, float("nan"), "a", None, 1e40, (0.1, float("nan")), ["a"], (), [[0.1]])),
    *(("Normalize", "std", v) for v in (0, -0.1, INF, float("nan"), "a", None, 1e-50, (0.1, 0.0), (0.1, -1), ())),
    *(("cnn", "input_shape", v) for v in ((1, 3, 28), (1, 28), 28, (0, 28, 28), (1, 28, 28.0))),
    *(("cnn", "classes", v) for v in (0, 1.5, "10")),
    *(("Dropout", "p", v) for v in ("a", 1, True)),
    *(("LeakyReLU", "slope", v) for v in ("a", 0, INF)),
    *(("ELU", "alpha", v) for v in ("a", 0, None)),
    ("mlp", "sizes", 784),
    ("mlp", "sizes", "784"),
    ("mlp", "dropout", "0.5"),
    ("mlp", "activation", ["relu"]),
    ("Sequential", "layers", None),
    *(("Residual", "body", v) for v in (None, 3, eb.ReLU(), (), (3,), ["relu"])),
    *(("Residual", "shortcut", v) for v in (None, 3, eb.ReLU(), (3,))),
    *(("Sequential", "input_shape", v) for v in ("3", (3.9,), 3, ())),
    *(("fit", argument, 2**70) for argument in ("epochs", "batch_size")),
    ("fit", "monitor", A.PGD(0.1, targeted=True)),
    ("fit", "method", 0),
    ("fit", "optimizer", ""),
    ("fit", "checkpoint", 3),
    *((kind, "progress", v) for kind in ("fit", "evaluate") for v in ("yes", 1, None)),
    *(("PGD", "eps", v) for v in ("8/255", None, 1j, 1e39, np.full(4, 1e39))),
    *(("PGD", "bounds", v) for v in (("0", "1"), (0, None))),
    ("PGD", "mask", "all"),
    *((kind, "path", v) for kind in ("load", "save") for v in (None, 3)),
    *(("datasets", "name", v) for v in (None, ["mnist"])),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "argument", "value"), BAD, ids=lambda v: str(v)[:24])
def test_bad_arguments_are_refused_when_they_are_given(kind: str, argument: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"\b{argument}\b: wanted|^{argument}: "):
        MAKERS[kind](**{argument: value})


@pytest.mark.parametrize(
    ("kind", "argument", "value", "kept"),
    [
        ("PGD", "seed", np.int64(7), 7),
        ("PGD", "seed", 2**64 - 1, 2**64 - 1),
        ("PGD", "early_stop", np.True_, True),
        ("PGD", "steps", np.int32(3), 3),
        ("PGD", "eps", np.float32(0.5), 0.5),
        ("PGDTraining", "eps", np.float32(0.5), 0.5),
        ("PGDTraining", "bounds", [0, np.float32(1)], (0.0, 1.0)),
        ("SGD", "lr", np.float32(0.5), 0.5),
        ("Linear", "in_features", np.prod((1, 3)), 3),
    ],
)  # fmt: skip
def test_numpy_scalars_are_kept_as_python_numbers(kind: str, argument: str, value: Any, kept: Any) -> None:
    got = getattr(MAKERS[kind](**{argument: value}), argument)
    assert got == kept
    assert type(got) is type(kept)


def test_numpy_integers_are_sizes_and_seeds() -> None:
    x, y = batch(4, 3), labels(4, 2)
    model = eb.models.linear(np.prod((1, 3)), np.int64(2), seed=np.int64(5))
    np.testing.assert_array_equal(model(x), eb.models.linear(3, 2, seed=5)(x))
    np.testing.assert_array_equal(
        eb.pgd(model, x, y, eps=0.1, steps=2, seed=np.int64(2**62)), eb.pgd(model, x, y, eps=0.1, steps=2, seed=2**62)
    )
    eb.fit(model, x, y, epochs=np.int64(1), batch_size=np.int64(2), seed=np.int64(2**62))


def test_parameters_must_be_a_mapping() -> None:
    with pytest.raises(TypeError, match="parameters"):
        eb.models.linear(3, 2).load_parameters(None)


def test_name_of_a_configured_attack_must_be_a_name() -> None:
    with pytest.raises(ValueError, match="attack: wanted"):
        A.from_dict({"attack": ["PGD"]})


def test_an_option_that_a_configuration_lacks_or_an_attack_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match=r"^configuration: wanted a value of 'eps', which PGD needs"):
        A.from_dict({"attack": "PGD"})
    with pytest.raises(ValueError, match=r"^configuration: PGD has no option 'warp'"):
        A.from_dict({"attack": "PGD", "version": 1, "eps": 0.1, "warp": 9})


@pytest.mark.parametrize("index", ["foo", [0, 1], [0, 1, 2, 2**63], [0, 1, 2, -1]])
def test_bad_index_is_refused_also_where_it_draws_nothing(index: Any) -> None:
    model, x, y = eb.models.linear(3, 2), batch(4, 3), labels(4, 2)
    for attack in (A.LinearExact(0.1), A.PGD(0.1, steps=1)):
        with pytest.raises((ValueError, TypeError), match="index"):
            attack(model, x, y, index=index)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model, x, y: eb.pgd(model, x * 1e300, y, eps=0.1), "got 1e+300 in row 0"),
        (lambda model, x, y: A.PGD(0.1, bounds=(0, 1e-9))(model, x, y), "within bounds [0.0, 1e-09], got"),
        (lambda model, x, y: eb.ops.project_(x, x, np.full(4, -1e-12)), "got [-1.e-12"),
        (lambda model, x, y: model.loss(x, np.full(4, 2**63, np.uint64)), "got 9223372036854775808 in row 0"),
        (lambda model, x, y: eb.Dropout(1.0), "to 0.9999999999999999, got 1"),
        (lambda model, x, y: model.load_parameters({**model.parameters(), 3: x}), "parameters: wanted a name, got 3"),
        (lambda model, x, y: model(np.ma.masked_greater(x, 0.5)), "x: wanted a value in every place, got a masked"),
    ],
)
def test_messages_show_the_value_that_was_given(call: Callable[..., Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(said)):
        call(eb.models.linear(3, 2), np.ones((4, 3)), labels(4, 2))


def test_the_default_step_of_a_huge_ball_is_one_that_float32_holds() -> None:
    x = batch(2, 3)
    for eps in (3e38, np.full(2, 3e38)):
        assert np.isfinite(eb.pgd(eb.models.linear(3, 2), x, labels(2, 2), eps=eps, steps=1, bounds=None)).all()


# ---- what is frozen stays


def test_an_attack_keeps_its_own_copy_of_arrays() -> None:
    eps, mask, hi = np.full(4, 0.1), np.ones(3), np.ones(3)
    attack = A.PGD(eps, mask=mask, bounds=(0.0, hi), step_size=eps)
    before = attack.to_dict()
    eps[:], mask[:], hi[:] = 0.9, 0, 0.5
    assert attack.to_dict() == before
    for array in (attack.eps, attack.mask, attack.bounds[1], attack.step_size):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


class Held:
    """An array by protocol, hashable as torch tensors are."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.ones(3)


@pytest.mark.parametrize("options", [lambda m: {"mask": m}, lambda m: {"bounds": (0.0, m)}])
def test_no_array_outlives_the_call(options: Callable[[Any], dict[str, Any]]) -> None:
    held = Held()
    gone = weakref.ref(held)
    eb.pgd(eb.models.linear(3, 2), batch(4, 3), labels(4, 2), eps=0.1, steps=1, **options(held))
    del held
    gc.collect()
    assert gone() is None


# ---- fit


@pytest.mark.parametrize("argument", ["x", "validation"])
def test_data_outside_the_box_are_refused_before_the_first_update(argument: str) -> None:
    model, x, y = eb.models.linear(3, 2), batch(4, 3), labels(4, 2)
    before = model.parameters()
    outside = 3 * x - 1
    options: dict[str, Any] = {"x": outside} if argument == "x" else {"x": x, "validation": (outside, y)}
    with pytest.raises(ValueError, match=rf"^{argument}: .*bounds"):
        eb.fit(model, y=y, method=T.PGDTraining(eps=0.1, steps=2), epochs=2, **options)
    with pytest.raises(ValueError, match=rf"^{argument}: .*bounds"):
        eb.fit(model, y=y, monitor=A.FGSM(0.1, bounds=(np.zeros(3), np.ones(3))), epochs=2, **options)
    for name, p in model.parameters().items():
        np.testing.assert_array_equal(p, before[name])
    eb.fit(model, y=y, method=T.PGDTraining(eps=0.1, steps=2, bounds=None), epochs=1, **options)


MISFITS: dict[str, tuple[A.Attack, str]] = {
    "mask of other features": (A.FGSM(0.1, mask=np.ones(4)), "mask: wanted"),
    "mask of other rows": (A.PGD(0.1, mask=np.ones((5, 3))), "mask: wanted"),
    "eps of other rows": (A.PGD(np.full(5, 0.1)), r"eps: wanted .*\(4,\)"),
    "eps of the training rows only": (A.BIM(np.full(4, 0.1)), r"2 rows: eps: wanted .*\(2,\)"),
    "step size of other rows": (A.PGD(0.1, step_size=np.full(5, 0.1)), r"step_size: wanted .*\(4,\)"),
    "closed form of a network": (A.LinearExact(0.1), "linear"),
}


@pytest.mark.parametrize(("monitor", "message"), MISFITS.values(), ids=MISFITS.keys())
def test_a_monitor_that_does_not_fit_is_refused_before_the_first_update(monitor: A.Attack, message: str) -> None:
    model, x, y = eb.models.mlp([3, 4, 2]), batch(4, 3), labels(4, 2)
    before = model.parameters()
    options = {"validation": (x[:2], y[:2])} if "2 rows" in message else {}
    with pytest.raises((ValueError, TypeError), match=f"^monitor: .*{message}"):
        eb.fit(model, x, y, monitor=monitor, epochs=1, **options)
    for name, p in model.parameters().items():
        np.testing.assert_array_equal(p, before[name])


@pytest.mark.parametrize("changed", ["x", "y", "validation"])
def test_checkpoint_of_other_data_is_refused(tmp_path: Path, changed: str) -> None:
    path = tmp_path / "run.safetensors"
    x, y = batch(2500, 3), labels(2500, 2)
    data = {"x": x, "y": y, "validation": (x[:50].copy(), y[:50].copy())}
    eb.fit(eb.models.linear(3, 2), **data, epochs=1, checkpoint=path)
    eb.fit(eb.models.linear(3, 2), **data, epochs=1, checkpoint=path)
    if changed == "y":
        y[1777] = 1 - y[1777]
    else:
        (x if changed == "x" else data["validation"][0])[7, 1] = 0.123
    with pytest.raises(ValueError, match=re.escape("checkpoint: ") + ".*(data|validation) was"):
        eb.fit(eb.models.linear(3, 2), **data, epochs=1, checkpoint=path)
