"""Callers' arrays, NumPy's global random state and the terminal are left as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, image_model, labels, pair

A = eb.attacks


def problem(dtype: type) -> tuple[Any, np.ndarray, np.ndarray]:
    model, _ = pair([9, 16, 4], "relu")
    return model, batch(12, 9).astype(dtype), labels(12, 4)


CALLS: dict[str, Callable[..., Any]] = {
    "logits": lambda m, x, y: m(x),
    "predict": lambda m, x, y: m.predict(x),
    "probabilities": lambda m, x, y: m.probabilities(x),
    "loss": lambda m, x, y: m.loss(x, y),
    "input_gradient": lambda m, x, y: m.input_gradient(x, y),
    "parameter_gradients": lambda m, x, y: m.parameter_gradients(x, y),
    "jacobian": lambda m, x, y: m.jacobian(x),
    "fgsm": lambda m, x, y: eb.fgsm(m, x, y, eps=0.1),
    "rfgsm": lambda m, x, y: A.RFGSM(eps=0.1)(m, x, y),
    "bim": lambda m, x, y: A.BIM(eps=0.1)(m, x, y),
    "ilcm": lambda m, x, y: A.ILCM(eps=0.1)(m, x, y),
    "pgd": lambda m, x, y: eb.pgd(m, x, y, eps=0.1, steps=3, restarts=2),
    "pgd-l1": lambda m, x, y: eb.pgd(m, x, y, eps=1.0, norm="l1", steps=3),
    "momentum": lambda m, x, y: A.MomentumPGD(eps=0.1, steps=3)(m, x, y),
    "smooth": lambda m, x, y: A.SmoothPGD(eps=0.1, steps=3)(m, x, y),
    "jitter": lambda m, x, y: A.Jitter(eps=0.1, steps=3)(m, x, y),
    "sparsefool": lambda m, x, y: A.SparseFool()(m, x, y),
    "adam": lambda m, x, y: A.AdamPGD(eps=0.1, steps=3)(m, x, y),
    "apgd": lambda m, x, y: A.APGD(eps=0.1, steps=5, targets=2, loss="dlr")(m, x, y),
    "apgd-l1": lambda m, x, y: A.APGD(eps=1.0, norm="l1", steps=10)(m, x, y),
    "max-confidence": lambda m, x, y: A.MaxConfidence(eps=0.1, steps=3)(m, x, y),
    "square": lambda m, x, y: A.Square(eps=0.1, queries=5)(m, x, y),
    "random-search": lambda m, x, y: A.RandomSearch(eps=0.1, draws=3)(m, x, y),
    "spsa": lambda m, x, y: A.SPSA(eps=0.1, steps=3, samples=3)(m, x, y),
    "autoattack": lambda m, x, y: eb.autoattack(m, x, y, eps=0.1, version="rand"),
    "ddn": lambda m, x, y: A.DDN(steps=5)(m, x, y),
    "fmn": lambda m, x, y: A.FMN("l0", steps=5)(m, x, y),
    "deepfool": lambda m, x, y: A.DeepFool()(m, x, y),
    "newton-fool": lambda m, x, y: A.NewtonFool()(m, x, y),
    "fab": lambda m, x, y: A.FAB(steps=2)(m, x, y),
    "cw": lambda m, x, y: A.CarliniWagner(steps=5, search_steps=2)(m, x, y),
    "cw-linf": lambda m, x, y: A.CarliniWagner(norm="linf", steps=5, search_steps=2)(m, x, y),
    "cw-l0": lambda m, x, y: A.CarliniWagner(norm="l0", steps=5, search_steps=2)(m, x, y),
    "lbfgs": lambda m, x, y: A.LBFGS(steps=5, search_steps=2)(m, x, y),
    "virtual-adversarial": lambda m, x, y: A.VirtualAdversarial(eps=0.1)(m, x, y),
    "universal": lambda m, x, y: A.Universal(eps=0.1, epochs=2, batch_size=5)(m, x, y),
    "addition": lambda m, x, y: A.FeatureAddition(k=3)(m, x, y),
    "deletion": lambda m, x, y: A.FeatureDeletion(k=3)(m, x, y),
    "ead": lambda m, x, y: A.EAD(steps=5, search_steps=2)(m, x, y),
    "jsma": lambda m, x, y: A.JSMA()(m, x, y),
    "boundary": lambda m, x, y: A.Boundary(steps=5)(m, x, y),
    "pointwise": lambda m, x, y: A.Pointwise(start=x[::-1])(m, x, y),
    "hop-skip-jump": lambda m, x, y: A.HopSkipJump(steps=1, init_evals=5, start=x[::-1])(m, x, y),
    "evaluate": lambda m, x, y: eb.evaluate(m, x, y, attacks=[A.FGSM(eps=0.1)]),
    "fit": lambda m, x, y: eb.fit(m, x, y, epochs=1, batch_size=5),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_inputs_keep_every_bit(call: Callable[..., Any], dtype: type) -> None:
    model, x, y = problem(dtype)
    x_before, y_before = x.tobytes(), y.tobytes()
    call(model, x, y)
    assert x.tobytes() == x_before
    assert y.tobytes() == y_before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_images_keep_every_bit(call: Callable[..., Any]) -> None:
    layers = [eb.Normalize(0.5, 0.5), eb.Conv2d(1, 4, 2), eb.BatchNorm2d(4), eb.ReLU(), eb.MaxPool2d(2)]
    model, _ = image_model([*layers, eb.Linear(4, 4)], (1, 3, 3))
    x, y = batch(12, 9).reshape(12, 1, 3, 3), labels(12, 4)
    x_before, y_before = x.tobytes(), y.tobytes()
    call(model, x, y)
    assert x.tobytes() == x_before
    assert y.tobytes() == y_before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_read_only_inputs_are_welcome(call: Callable[..., Any]) -> None:
    model, x, y = problem(np.float32)
    x.flags.writeable = False
    y.flags.writeable = False
    call(model, x, y)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_bounds_masks_budgets_and_indices_keep_every_bit(norm: str) -> None:
    model, x, y = problem(np.float32)
    arrays = {
        "eps": np.linspace(0.01, 0.3, 12),
        "mask": np.tile([1.0, 0.0, 1.0], 3),
        "lo": np.zeros(9),
        "hi": np.ones(9),
        "index": np.arange(12) + 3,
    }
    before = {n: a.tobytes() for n, a in arrays.items()}
    eb.pgd(
        model, x, y, eps=arrays["eps"], norm=norm, steps=3, mask=arrays["mask"],
        bounds=(arrays["lo"], arrays["hi"]), index=arrays["index"],
    )  # fmt: skip
    assert {n: a.tobytes() for n, a in arrays.items()} == before


@pytest.mark.parametrize("name", ["pgd", "rfgsm", "fit", "evaluate"])
def test_global_random_state_is_neither_read_nor_advanced(name: str) -> None:
    model, x, y = problem(np.float32)
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    CALLS[name](model, x, y)
    after = np.random.get_state()  # noqa: NPY002
    assert before[0] == after[0]
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]
    if name in ("pgd", "rfgsm"):
        first = np.asarray(CALLS[name](model, x, y))
        np.random.seed(2)  # noqa: NPY002
        np.testing.assert_array_equal(CALLS[name](model, x, y), first)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_nothing_is_printed(call: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    model, x, y = problem(np.float32)
    call(model, x, y)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_results_are_the_caller_s_own() -> None:
    """Writing into a result disturbs neither the input nor a later call."""
    model, x, y = problem(np.float32)
    first = eb.fgsm(model, x, y, eps=0.0)
    assert not np.shares_memory(first, x)
    assert first.flags.writeable
    logits = model(x)
    wanted = logits.copy()
    logits[:] = np.nan
    np.testing.assert_array_equal(model(x), wanted)


def test_attacks_leave_the_model_alone() -> None:
    model, x, y = problem(np.float32)
    before = {n: p.tobytes() for n, p in model.parameters().items()}
    for name in CALLS:
        if name != "fit":
            CALLS[name](model, x, y)
    assert {n: p.tobytes() for n, p in model.parameters().items()} == before
