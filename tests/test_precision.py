"""Models whose dense products run on tensor cores: how far rounded factors may take them, and what stays as it was."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels
from device_arrays import DeviceArray
from epsball import device

X, Y = batch(13, 36), labels(13, 3)
UNIT = {"tf32": 2.0**-11, "bf16": 2.0**-8}  # what rounding a factor is off by at most


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    module = pytest.importorskip("_cuda_emulated", reason="needs -DEPSBALL_CUDA_EMULATED=ON and its folder on the path")
    monkeypatch.setenv("EPSBALL_CUDA_MODULE", "_cuda_emulated")
    device._cuda_table.cache_clear()
    yield module
    device._cuda_table.cache_clear()


def linear(out: int = 20) -> eb.Sequential:
    return eb.models.linear(36, out, seed=1)  # more than 16 outputs: a product of tiles


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_logits_are_within_what_rounded_factors_amount_to(cuda, precision) -> None:
    model = linear()
    weight, bias = (value.astype(np.float64) for value in model.parameters().values())
    exact, size = X @ weight.T.astype(np.float64) + bias, np.abs(X) @ np.abs(weight.T) + np.abs(bias)
    logits = model.to("cuda", precision=precision)(X)
    u, sums = UNIT[precision], 38 * 2.0**-24
    off = np.abs(logits - exact)
    assert (off <= (2 * u + u * u + sums) * 1.01 * size).all()
    assert off.max() > 100 * np.abs(linear().to("cuda")(X) - exact).max(), "nothing was rounded"


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_convolutions_to_many_channels_are_rounded_and_others_are_not(cuda, precision) -> None:
    def model(channels: int) -> eb.Sequential:
        layers = [eb.Conv2d(1, channels, 3, padding=1), eb.Conv2d(channels, 3, 3), eb.AvgPool2d(4), eb.Flatten()]
        return eb.Sequential(layers, input_shape=(1, 6, 6), seed=1)

    for channels in (16, 17):
        here, there = model(channels).to("cuda"), model(channels).to("cuda", precision=precision)
        off = np.abs(there(X) - here(X)).max()
        assert (off > 0) == (channels > 16)
        assert off < 100 * UNIT[precision]
        gradients = [m.input_gradient(X, Y) for m in (here, there)]
        np.testing.assert_allclose(gradients[1], gradients[0], atol=50 * UNIT[precision])


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_attacks_run_and_hold_their_bound_exactly(cuda, precision) -> None:
    model = eb.models.mlp([36, 40, 17, 3], seed=1).to("cuda", precision=precision)
    attack = eb.attacks.PGD(eps=0.1, steps=3)
    x_adv = attack(model, X, Y)
    assert np.abs(x_adv.astype(np.float64) - X).max() <= 0.1
    assert model.loss(x_adv, Y).mean() > model.loss(X, Y).mean()
    np.testing.assert_array_equal(attack(model, DeviceArray(X), DeviceArray(Y)).numpy(), x_adv)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_row_does_not_depend_on_its_batch(cuda, precision) -> None:
    model = eb.models.mlp([36, 40, 17, 3], seed=1).to("cuda", precision=precision)
    x, y = batch(130, 36), labels(130, 3)
    whole = eb.pgd(model, x, y, eps=0.1, steps=2, random_start=False)
    for rows in (slice(0, 1), slice(17, 18), slice(60, 130)):
        np.testing.assert_array_equal(
            eb.pgd(model, x[rows], y[rows], eps=0.1, steps=2, random_start=False), whole[rows]
        )


def test_training_takes_a_precision(cuda) -> None:
    model = eb.models.mlp([36, 40, 3], seed=1)
    before = model.loss(X, Y).mean()
    eb.fit(model.to("cuda", precision="bf16"), X, Y, epochs=5, batch_size=5)
    assert model.to("cpu").loss(X, Y).mean() < before


def test_a_model_says_its_precision_and_copies_keep_it(cuda) -> None:
    model = linear()
    assert model.precision == "float32"
    model.to("cuda", precision="tf32")
    for other in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (other.device, other.precision) == ("cuda", "tf32")
        np.testing.assert_array_equal(other(X), model(X))
    assert model.to("cuda").precision == "float32"


def test_the_cpu_and_unknown_precisions_are_refused() -> None:
    model = linear()
    with pytest.raises(ValueError, match=r"^precision: wanted 'float32', in which the CPU computes, got 'tf32'$"):
        model.to("cpu", precision="tf32")
    with pytest.raises(ValueError, match=r"^precision: wanted 'float32', 'tf32' or 'bf16', got 'fp8'$"):
        model.to("cuda", precision="fp8")
    assert model.device == "cpu"


def test_bounds_that_must_hold_want_float32(cuda) -> None:
    model = linear().to("cuda", precision="bf16")
    with pytest.raises(ValueError, match=r"^model: wanted float32 products for bounds that hold, got 'bf16'"):
        model.output_bounds(X, X)
    model.to("cuda").output_bounds(X, X)
