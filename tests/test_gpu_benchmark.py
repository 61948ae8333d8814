"""benchmarks/gpu.py: what it can be held to without a GPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import epsball as eb
from epsball import device

PATH = Path(__file__).parents[1] / "benchmarks/gpu.py"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not PATH.exists():
        pytest.skip("benchmarks/ is not part of what is tested here")
    spec = importlib.util.spec_from_file_location("gpu_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(device.cuda_problem() == "", reason="there is a GPU here")
def test_without_a_gpu_it_says_so_in_one_line(benchmark: ModuleType) -> None:
    run = subprocess.run([sys.executable, str(PATH)], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr == f"gpu.py: no GPU to measure: {device.cuda_problem()}\n"


def test_layers_count_what_the_models_compute(benchmark: ModuleType) -> None:
    mlp, cnn = (benchmark.layers_of(benchmark.MODELS[name]()) for name in ("mlp", "cnn"))
    assert mlp == [(784, 256, 784 * 256), (256, 256, 256 * 256), (256, 10, 2560)]
    assert cnn[0] == (784, 16 * 14 * 14, 16 * 14 * 14 * 16)
    assert cnn[1] == (16 * 14 * 14, 32 * 7 * 7, 32 * 7 * 7 * 16 * 16)
    work = benchmark.work_of([(3, 2, 6)], rows=5)
    assert work.flops == 40 * 4 * 5 * 6
    assert work.moved == 40 * 4 * (2 * 5 * 5 + 3 * 5 * 3 + 2 * 6)


@pytest.mark.torch
def test_torch_takes_the_steps_that_epsball_takes(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(benchmark, "STEPS", 5)  # before a gradient comes near 0, where its sign is rounding's
    model = eb.models.mlp([12, 9, 4], seed=1)
    x = np.random.default_rng(0).random((6, 12), dtype=np.float32)
    y = np.arange(6) % 4
    theirs = benchmark.eager(eb.to_torch(model), torch.from_numpy(x), torch.from_numpy(y))().numpy()
    loop = eb.attacks.BIM(eps=benchmark.EPS, steps=benchmark.STEPS, step_size=benchmark.STEP_SIZE)
    np.testing.assert_allclose(theirs, loop(model, x, y), atol=1e-5)
