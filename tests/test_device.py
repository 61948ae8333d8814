"""Models on a CUDA device, here the emulated one: where calls compute, what is refused, and what is left behind."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels
from epsball import device

X, Y = batch(13, 36), labels(13, 3)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The emulator's module, which `to("cuda")` finds."""
    module = pytest.importorskip("_cuda_emulated", reason="needs -DEPSBALL_CUDA_EMULATED=ON and its folder on the path")
    monkeypatch.setenv("EPSBALL_CUDA_MODULE", "_cuda_emulated")
    device._cuda_table.cache_clear()
    yield module
    module.limit_memory(0)
    device._cuda_table.cache_clear()


def mlp() -> eb.Sequential:
    return eb.models.mlp([36, 17, 3], seed=1)


def cnn() -> eb.Sequential:
    # a bias below a batch normalisation has no gradient but rounding, of which Adam makes steps
    layers = [eb.Conv2d(1, 4, 3, padding=1, bias=False), eb.BatchNorm2d(4), eb.ReLU(), eb.MaxPool2d(2), eb.Flatten()]
    return eb.Sequential([*layers, eb.Linear(36, 3)], input_shape=(1, 6, 6), seed=1)


def test_a_model_moves_there_and_back(cuda) -> None:
    model = mlp()
    here = model(X)
    used = cuda.memory()
    assert model.to("cuda") is model
    assert model.device == "cuda"
    np.testing.assert_allclose(model(X), here, rtol=1e-5, atol=1e-6)
    assert cuda.memory() > used, "it computed on the host"
    assert model.to("cpu").device == "cpu"
    np.testing.assert_array_equal(model(X), here)


def test_copies_and_pickles_stay_on_the_device(cuda) -> None:
    model = mlp().to("cuda")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.device == "cuda"
        np.testing.assert_array_equal(other(X), model(X))


def test_loaded_parameters_are_the_ones_computed_with(cuda) -> None:
    model, other = mlp().to("cuda"), eb.models.mlp([36, 17, 3], seed=2).to("cuda")
    assert not np.array_equal(model(X), other(X))
    model.load_parameters(other.parameters())
    np.testing.assert_array_equal(model(X), other(X))


@pytest.mark.parametrize("make", [mlp, cnn])
@pytest.mark.parametrize("method", [eb.training.Standard(), eb.training.PGDTraining(eps=0.1, steps=2)])
def test_what_is_trained_there_is_what_the_model_holds(cuda, make, method) -> None:
    there, here = make().to("cuda"), make()
    start = there.parameters()
    for model in (there, here):
        eb.fit(model, X.reshape(-1, *model.input_shape), Y, method=method, epochs=2, batch_size=5)
    trained, wanted = there.parameters(), here.parameters()
    for name, value in trained.items():
        assert not np.array_equal(value, start[name]), f"{name} was not trained"
        np.testing.assert_allclose(value, wanted[name], rtol=1e-3, atol=1e-4)
    logits = there(X)
    np.testing.assert_allclose(there.to("cpu")(X), logits, rtol=1e-4, atol=1e-5)


def test_random_starts_have_the_bits_of_the_cpu(cuda) -> None:
    model = mlp()
    attack = eb.attacks.PGD(eps=0.1, steps=0, seed=5)
    here = attack(model, X, Y)
    np.testing.assert_array_equal(attack(model.to("cuda"), X, Y), here)


def test_calls_from_several_threads_agree(cuda) -> None:
    model = mlp().to("cuda")
    wanted = eb.pgd(model, X, Y, eps=0.1, steps=3)
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(eb.pgd(model, X, Y, eps=0.1, steps=3))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for x_adv in found:
        np.testing.assert_array_equal(x_adv, wanted)


# ---- memory


def test_a_model_that_goes_leaves_no_device_memory_behind(cuda) -> None:
    gc.collect()
    before = cuda.memory()
    model = cnn().to("cuda")
    eb.pgd(model, X.reshape(-1, 1, 6, 6), Y, eps=0.1, steps=2)
    eb.fit(model, X.reshape(-1, 1, 6, 6), Y, epochs=1, batch_size=5)
    assert cuda.memory() > before
    del model
    gc.collect()
    assert cuda.memory() == before


def test_a_smaller_slab_is_tried_before_memory_is_said_to_be_full(cuda) -> None:
    x, y = batch(200, 36), labels(200, 3)
    model = eb.models.mlp([36, 400, 3]).to("cuda")
    model(x[:1])
    start = cuda.memory()
    wanted = model(x)
    needed = cuda.memory() - start
    del model
    gc.collect()
    model = eb.models.mlp([36, 400, 3]).to("cuda")
    model(x[:1])
    cuda.limit_memory(cuda.memory() + needed // 2)
    np.testing.assert_array_equal(model(x), wanted)
    cuda.limit_memory(cuda.memory() + 1)
    with pytest.raises(MemoryError, match="^device: its memory is full$"):
        eb.pgd(model, batch(900, 36), labels(900, 3), eps=0.1, steps=2)
    cuda.limit_memory(0)
    np.testing.assert_array_equal(model(x), wanted)
    assert np.isfinite(eb.pgd(model, x, y, eps=0.1, steps=2)).all()


# ---- what is refused


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(ValueError, match="^device: wanted 'cpu' or 'cuda', got 'tpu'$"):
        mlp().to("tpu")


@pytest.mark.parametrize(
    ("emulated", "why"),
    [("none", "no CUDA device is visible"), ("old driver", "the NVIDIA driver is older than the CUDA toolkit of this build")],
)  # fmt: skip
def test_a_machine_without_a_device_says_so(cuda, monkeypatch, emulated, why) -> None:
    monkeypatch.setenv("EPSBALL_EMULATE_DEVICE", emulated)
    model = mlp()
    with pytest.raises(RuntimeError, match=f"^device: 'cuda' cannot be used: {why}$"):
        model.to("cuda")
    assert model.device == "cpu"
    assert eb.info()["cuda"] == why


def test_a_build_without_cuda_says_so(monkeypatch) -> None:
    monkeypatch.setenv("EPSBALL_CUDA_MODULE", "epsball._no_such_module")
    device._cuda_table.cache_clear()
    with pytest.raises(RuntimeError, match="^device: 'cuda' cannot be used: this epsball was built without it, .*nvcc"):
        mlp().to("cuda")


# ---- what the host may not touch

TOUCHES_NOTHING = """
import numpy as np
import _cuda_emulated
import epsball as eb

x = np.random.default_rng(0).random((7, 1, 6, 6), dtype=np.float32)
y = np.arange(7) % 3
layers = [eb.Normalize([0.5], [2.0]), eb.Conv2d(1, 4, 3, padding=1), eb.BatchNorm2d(4), eb.ReLU(), eb.MaxPool2d(2),
          eb.Conv2d(4, 5, 2), eb.GELU(), eb.Flatten(), eb.Dropout(0.2), eb.Linear(20, 3)]
model = eb.Sequential(layers, input_shape=(1, 6, 6)).to("cuda")
distances = eb.models.rbf(36, 3).to("cuda")
for m in (model, distances):
    m.predict(x), m.loss(x, y), m.input_gradient(x, y), m.jacobian(x), m.parameter_gradients(x, y)
    for norm in ("linf", "l2", "l1"):
        for dtype in (np.float32, np.float64, np.float16):
            attack = eb.attacks.PGD(eps=0.1, steps=2, restarts=2, norm=norm, early_stop=norm == "l2")
            attack.run(m, x.astype(dtype), y, trace=True)
eb.fit(model, x, y, method=eb.training.PGDTraining(eps=0.1, steps=1), epochs=1, batch_size=4)
linear = eb.models.linear(36, 3).to("cuda")
eb.attacks.LinearExact(eps=0.1, norm="l2").run(linear, x, y)
eb._native.use_table("cuda-emulated")
eb.ops.project_(x.copy(), x, eps=0.1, norm="l2")
print("untouched", _cuda_emulated.memory() > 0)
"""


@pytest.mark.slow
def test_the_host_touches_no_device_memory(cuda) -> None:
    environment = os.environ | {"EPSBALL_EMULATE_PROTECT": "1", "EPSBALL_CUDA_MODULE": "_cuda_emulated"}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    run = subprocess.run([sys.executable, "-c", TOUCHES_NOTHING], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == "untouched True\n"
