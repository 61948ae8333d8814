"""On a real GPU (pytest -m gpu): CuPy arrays and torch CUDA tensors in, the same kind out, on the caller's stream."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels
from epsball import device

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(device.cuda_problem() != "", reason=f"no GPU: {device.cuda_problem()}"),
]
X, Y = batch(13, 36), labels(13, 3)


@dataclass(frozen=True)
class Library:
    """Somebody else's arrays on the device."""

    place: Callable[[Any], Any]
    read: Callable[[Any], np.ndarray]
    new_stream: Callable[[], AbstractContextManager[Any]]
    used_bytes: Callable[[], int]


@pytest.fixture(params=["cupy", "torch"])
def library(request: pytest.FixtureRequest) -> Library:
    module = pytest.importorskip(request.param)
    if request.param == "cupy":
        return Library(
            module.asarray,
            module.asnumpy,
            lambda: module.cuda.Stream(non_blocking=True),
            module.get_default_memory_pool().used_bytes,
        )
    return Library(
        lambda values: module.from_numpy(np.ascontiguousarray(values)).to("cuda"),
        lambda tensor: tensor.cpu().numpy(),
        lambda: module.cuda.stream(module.cuda.Stream()),
        module.cuda.memory_allocated,
    )


def mlp() -> eb.Sequential:
    return eb.models.mlp([36, 17, 3], seed=1).to("cuda")


def test_arrays_come_back_as_what_they_were(library: Library) -> None:
    model, x, y = mlp(), library.place(X), library.place(Y)
    for found, wanted in (
        (model(x), model(X)),
        (model.predict(x), model.predict(X)),
        (model.loss(x, y), model.loss(X, Y)),
        (model.input_gradient(x, y), model.input_gradient(X, Y)),
        (model.jacobian(x), model.jacobian(X)),
        (eb.pgd(model, x, y, eps=0.1, steps=5), eb.pgd(model, X, Y, eps=0.1, steps=5)),
        (eb.attacks.DDN(steps=5)(model, x, y), eb.attacks.DDN(steps=5)(model, X, Y)),
    ):
        assert type(found) is type(x)
        np.testing.assert_array_equal(library.read(found), wanted)
    np.testing.assert_array_equal(library.read(x), X)


def test_what_a_stream_has_yet_to_write_is_waited_for(library: Library) -> None:
    model = mlp()
    wanted = eb.pgd(model, X, Y, eps=0.1, steps=5)
    for _ in range(20):
        with library.new_stream():
            x = library.place(np.zeros_like(X))
            for _ in range(50):
                x += library.place(X / 50)
            x *= 0
            x += library.place(X)
            found = eb.pgd(model, x, library.place(Y), eps=0.1, steps=5)
            np.testing.assert_array_equal(library.read(found), wanted)


def test_the_memory_of_a_call_is_the_librarys(library: Library) -> None:
    model, x, y = mlp(), library.place(batch(5000, 36)), library.place(labels(5000, 3))
    before = library.used_bytes()
    eb.pgd(model, x, y, eps=0.1, steps=2)
    assert library.used_bytes() - before > 5 * x.nbytes
    del model
    assert library.used_bytes() == before


def test_ops_change_arrays_in_place(library: Library) -> None:
    x = library.place(X)
    for norm in ("linf", "l2", "l1"):
        x_adv = library.place(np.clip(X + 0.3, 0, 1))
        assert eb.ops.project_(x_adv, x, eps=0.1, norm=norm) is x_adv
        distance = np.linalg.norm(
            library.read(x_adv).astype(np.float64) - X, ord={"linf": np.inf, "l2": 2, "l1": 1}[norm], axis=1
        )
        assert distance.max() <= 0.1
        assert distance.min() > 0.09
    x_adv = library.place(X)
    eb.ops.sign_step_(x_adv, library.place(X - 0.5), x, step_size=0.02, eps=0.01)
    moved = library.read(x_adv).astype(np.float64) - X
    assert np.abs(moved).max() <= 0.01


def test_bad_values_are_named(library: Library) -> None:
    spoilt = X.copy()
    spoilt[5, 3] = np.nan
    with pytest.raises(ValueError, match=r"^x: wanted finite float32 values, got nan in row 5$"):
        eb.pgd(mlp(), library.place(spoilt), library.place(Y), eps=0.1)
    with pytest.raises(ValueError, match=r"^y: wanted class indices from 0 to 2, got 9 in row 0$"):
        mlp().loss(library.place(X), library.place(Y * 0 + 9))
    with pytest.raises(ValueError, match=r"^x: wanted a C-contiguous array on the CUDA device"):
        mlp()(library.place(batch(36, 13)).T)


def test_random_numbers_have_the_bits_of_the_cpu() -> None:
    model = eb.models.mlp([36, 17, 3], seed=1)
    attack = eb.attacks.PGD(eps=0.1, steps=0, seed=5)
    here = attack(model, X, Y)
    np.testing.assert_array_equal(attack(model.to("cuda"), X, Y), here)


@pytest.mark.parametrize(("precision", "unit"), [("tf32", 2.0**-11), ("bf16", 2.0**-8)])
def test_tensor_cores_are_within_what_rounded_factors_amount_to(precision: str, unit: float) -> None:
    model = eb.models.linear(36, 20, seed=1)
    weight, bias = (value.astype(np.float64) for value in model.parameters().values())
    size = np.abs(X) @ np.abs(weight.T) + np.abs(bias)
    logits = model.to("cuda", precision=precision)(X)
    sums = 38 * 2.0**-23  # tensor cores cut off where they add
    assert (np.abs(logits - (X @ weight.T + bias)) <= (2 * unit + unit**2 + sums) * 1.01 * size).all()


def test_whole_attacks_are_as_strong_as_on_the_cpu(digits: dict[str, np.ndarray]) -> None:
    model = eb.models.mlp([784, 64, 10], seed=0)
    eb.fit(model, digits["x"], digits["y"], epochs=2, progress=False)
    xt, yt = digits["xt"], digits["yt"]
    here = eb.attacks.PGD(eps=0.05, steps=20).run(model, xt, yt).success
    there = eb.attacks.PGD(eps=0.05, steps=20).run(model.to("cuda"), xt, yt).success
    assert abs(here.mean() - there.mean()) <= 0.01
