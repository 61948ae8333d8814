"""Arrays of any kind in CPU memory go in, and the same kind, dtype and shape comes out."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels, pair

ROWS, FEATURES, CLASSES = 9, 6, 4
X, Y = batch(ROWS, FEATURES), labels(ROWS, CLASSES)


@pytest.fixture(scope="module")
def model() -> Any:
    return pair([FEATURES, 8, CLASSES], "relu", scale=2.0)[0]


@pytest.fixture(scope="module")
def wanted(model) -> np.ndarray:
    return eb.pgd(model, X, Y, eps=0.1, steps=3)


def layouts() -> dict[str, np.ndarray]:
    padded = np.zeros((2 * ROWS, FEATURES + 3), np.float32)
    padded[::2, 3:] = X
    frozen = X.copy()
    frozen.flags.writeable = False
    backwards = X[::-1].copy()[::-1]
    return {
        "strided": padded[::2, 3:],
        "Fortran": np.asfortranarray(X),
        "read-only": frozen,
        "reversed": backwards,
        "image": X.reshape(ROWS, 1, 2, 3),
        "matrix": X.view(np.ma.MaskedArray).data,
    }


@pytest.mark.parametrize("layout", layouts())
def test_numpy_arrays_of_every_layout(model, wanted, layout) -> None:
    given = layouts()[layout]
    before = given.copy()
    found = eb.pgd(model, given, Y, eps=0.1, steps=3)
    assert type(found) is np.ndarray
    assert (found.shape, found.dtype) == (given.shape, given.dtype)
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)
    np.testing.assert_array_equal(given, before)


class DLPackOnly:
    """An array that offers DLPack and its own namespace, and nothing else."""

    class Namespace:
        @staticmethod
        def asarray(value: Any) -> DLPackOnly:
            return DLPackOnly(value)

    def __init__(self, values: Any, device: tuple[int, int] = (1, 0)) -> None:
        self.values, self.where = np.asarray(values), device

    def __dlpack__(self, **options: Any) -> Any:
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.where

    def __array_namespace__(self) -> Any:
        return self.Namespace


def test_dlpack_arrays_come_back_through_their_namespace(model, wanted) -> None:
    found = eb.pgd(model, DLPackOnly(X), DLPackOnly(Y), eps=0.1, steps=3)
    assert isinstance(found, DLPackOnly)
    np.testing.assert_array_equal(found.values, wanted)
    assert isinstance(model(DLPackOnly(X)), DLPackOnly)
    assert model.predict(DLPackOnly(X)).values.dtype == np.int64
    assert eb.pgd(model, DLPackOnly(X.astype(np.float64)), Y, eps=0.1).values.dtype == np.float64


def test_buffers_are_read_without_a_copy_and_views_come_back_as_views(model, wanted) -> None:
    found = eb.pgd(model, memoryview(X), memoryview(Y), eps=0.1, steps=3)
    assert isinstance(found, memoryview)
    np.testing.assert_array_equal(np.asarray(found), wanted)
    one = eb.models.linear(1, 2)
    column = array.array("f", [0.1, 0.5, 0.9])
    np.testing.assert_array_equal(one(column), one(np.array(column)))
    assert type(one.predict(column)) is np.ndarray
    assert column == array.array("f", [0.1, 0.5, 0.9])


def test_lists_come_back_as_numpy(model) -> None:
    assert type(model.predict(X.astype(np.float64).tolist())) is np.ndarray


class OnCuda:
    __cuda_array_interface__: Any = {"shape": (2, 2), "typestr": "<f4", "data": (0, False), "version": 3}  # noqa: RUF012

    def __array__(self) -> Any:
        raise AssertionError("copied to the host unseen")


class Nowhere:
    def __dlpack_device__(self) -> tuple[int, int]:
        raise BufferError("lies on two devices")

    def __array__(self) -> Any:
        raise AssertionError("copied to the host unseen")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (OnCuda(), "x: wanted an array in CPU memory, got OnCuda on a CUDA device"),
        (DLPackOnly(X, device=(2, 0)), "x: wanted an array in CPU memory, got DLPackOnly on DLPack device type 2"),
        (Nowhere(), "x: wanted an array in CPU memory, got Nowhere .lies on two devices."),
        (object(), "x: wanted a NumPy array or a torch CPU tensor, got object"),
        ("abc", "x: wanted a NumPy array or a torch CPU tensor, got str"),
    ],
)
def test_what_is_not_in_cpu_memory_is_refused(model, given, message) -> None:
    oracle = eb.LabelOracle(lambda x: Y)
    for call in (lambda: model(given), lambda: eb.pgd(model, given, Y, eps=0.1), lambda: oracle.predict(given)):
        with pytest.raises(TypeError, match=message):
            call()


# ---- torch


def test_torch_tensors_of_every_sort(model, wanted) -> None:
    torch = pytest.importorskip("torch")
    base = torch.from_numpy(X.copy())
    cases = {
        "plain": base,
        "requires grad": base.clone().requires_grad_(),
        "part of a graph": base.clone().requires_grad_() * 1,
        "transposed": torch.from_numpy(X.T.copy()).T,
        "every second": torch.stack([base, base + 1], 1)[:, 0],
        "parameter": torch.nn.Parameter(base.clone()),
        "negated": torch.complex(torch.zeros_like(base), -base).conj().imag,
    }
    for name, given in cases.items():
        found = eb.pgd(model, given, torch.from_numpy(Y), eps=0.1, steps=3)
        assert type(found) is torch.Tensor, name
        assert (found.dtype, found.shape) == (given.dtype, given.shape), name
        assert not found.requires_grad, name
        np.testing.assert_array_equal(found.numpy(), wanted, name)
    for dtype in (torch.float64, torch.float16):
        assert eb.pgd(model, base.to(dtype), torch.from_numpy(Y), eps=0.1).dtype == dtype


def test_findings_about_torch_tensors_are_numpy_arrays(model) -> None:
    torch = pytest.importorskip("torch")
    attack = eb.attacks.PGD(eps=0.1, steps=3)
    found = attack.run(model, torch.from_numpy(X.copy()), torch.from_numpy(Y), trace=True)
    assert type(found.x_adv) is torch.Tensor
    same = attack.run(model, X, Y, trace=True)
    for name in ("success", "distance", "queries", "loss", "zero_gradient", "trace"):
        assert type(getattr(found, name)) is np.ndarray, name
        np.testing.assert_array_equal(getattr(found, name), getattr(same, name), name)


def test_torch_tensors_that_numpy_cannot_hold_are_refused(model) -> None:
    torch = pytest.importorskip("torch")
    base = torch.from_numpy(X.copy())
    for given, message in (
        (base.bfloat16(), r"x: wanted a dense tensor of a dtype that NumPy has, got torch.bfloat16"),
        (base.to_sparse(), "x: wanted a dense tensor .*sparse_coo"),
        (base.to("meta"), "x: wanted a CPU tensor, got one on meta"),
    ):
        with pytest.raises(TypeError, match=message):
            eb.pgd(model, given, Y, eps=0.1)


# ---- JAX


def test_jax_arrays_of_every_dtype(model, wanted) -> None:
    jnp = pytest.importorskip("jax.numpy")
    for dtype in (jnp.float32, jnp.float16):
        given = jnp.asarray(X, dtype)
        found = eb.pgd(model, given, jnp.asarray(Y), eps=0.1, steps=3)
        assert isinstance(found, jnp.ndarray)
        assert (found.dtype, found.shape, found.device) == (given.dtype, given.shape, given.device)
    np.testing.assert_array_equal(eb.pgd(model, jnp.asarray(X), jnp.asarray(Y), eps=0.1, steps=3), wanted)
    with pytest.raises(TypeError, match="x: wanted float32, float64 or float16, got bfloat16"):
        eb.pgd(model, jnp.asarray(X, jnp.bfloat16), Y, eps=0.1)
