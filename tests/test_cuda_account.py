"""tools/cuda_account.py: the page is what shapes, registers and a data sheet say, and the launches are the engine's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import epsball as eb
from device_arrays import DeviceArray
from epsball import device

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = ROOT / "tools/cuda_account.py"
    if not path.exists():
        pytest.skip("tools/ is not part of what is tested here")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_tool_writes(tool: ModuleType) -> None:
    assert tool.PAGE.read_text() == tool.page(), "run: python tools/cuda_account.py --write"


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "blocks"),
    [
        (256, 32, 0, 8),  # all 64 warps
        (256, 80, 0, 3),  # 2560 registers a warp: 6 in each quarter
        (256, 32, 100 * 1024, 2),
        (32, 16, 0, 32),  # no more blocks than that
        (1024, 64, 0, 1),
    ],
)
def test_blocks_fit_as_a_multiprocessor_has_room(
    tool: ModuleType, threads: int, registers: int, shared: int, blocks: int
) -> None:
    launch = tool.Launch("x.cu x", "x", 1000, threads, 1.0, 1.0)
    assert tool.blocks_per_multiprocessor(tool.Gpu(), launch, tool.Resources(registers, shared)) == blocks


def test_a_launch_is_bound_by_the_slower_of_bytes_and_arithmetic(tool: ModuleType) -> None:
    takes, gpu = tool.Resources(32, 0), tool.Gpu()
    for flops, moved, rate, seconds in (
        (67e12, 1.0, "float32", 1.0),
        (1.0, 3.35e12, "float32", 1.0),
        (989e12, 1.0, "tf32", 2.0),
    ):
        launch = tool.Launch("x.cu x", "x", 1000, 256, flops, moved, rate)
        assert tool.row_of(gpu, launch, takes)[1] == pytest.approx(seconds)
    few = tool.Launch("x.cu x", "x", 66, 256, 67e12, 1.0)
    assert tool.row_of(gpu, few, takes)[1] == pytest.approx(2.0), "half of the multiprocessors have nothing to do"


def test_a_convolution_counts_the_taps_inside_the_image_only(tool: ModuleType) -> None:
    assert tool.taps_inside(4, 4, 2, 1, 2) == 6  # taps 1 to 3 of the first output, 0 to 2 of the second
    forward, backward = tool.strided(10, 3, 5, 4, False)
    assert forward.flops == backward.flops == 2 * 10 * 3 * 5 * 6 * 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("title", "rows", "precision"),
    [
        ("A PGD step on the MLP 784-256-256-10, 1,000 rows", 1000, "float32"),
        ("The same, precision tf32", 1000, "tf32"),
        ("The same, precision bf16", 1000, "bf16"),
        ("A PGD step on the CNN 16-32-100-10, 1,000 rows", 1000, "float32"),
        ("CNN", 70, "tf32"),
    ],
)
def test_the_launches_of_a_step_are_those_of_the_account(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, title: str, rows: int, precision: str
) -> None:
    cuda = pytest.importorskip("_cuda_emulated", reason="needs -DEPSBALL_CUDA_EMULATED=ON and its folder on the path")
    monkeypatch.setenv("EPSBALL_CUDA_MODULE", "_cuda_emulated")
    device._cuda_table.cache_clear()
    model = eb.models.cnn((1, 28, 28), classes=10) if "CNN" in title else eb.models.mlp(tool.MLP)
    x, y = DeviceArray(np.full((rows, 784), 0.5, np.float32)), DeviceArray(np.arange(rows) % 10)
    model.to("cuda", precision=precision)(x)  # packs the weights
    launches = []
    for steps in (1, 2):
        cuda.take_launches()
        eb.pgd(model, x, y, eps=0.1, steps=steps, random_start=False)
        launches.append(cuda.take_launches())
    device._cuda_table.cache_clear()
    for launch in launches[0]:
        launches[1].remove(launch)  # what is left is one step, in its order up to where the loop begins and ends
    account = tool.SECTIONS.get(title) or tool.cnn(rows, precision)
    wanted = [(launch.kernel.split()[0], launch.blocks, launch.threads) for launch in account]
    assert sorted(launches[1]) == sorted(wanted)


@pytest.mark.slow
def test_a_run_of_few_rows_is_the_launch_of_the_account(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pytest.importorskip("_cuda_emulated", reason="needs -DEPSBALL_CUDA_EMULATED=ON and its folder on the path")
    monkeypatch.setenv("EPSBALL_CUDA_MODULE", "_cuda_emulated")
    device._cuda_table.cache_clear()
    (wanted,) = tool.SECTIONS["PGD-40 on the same in float32, 128 rows"]
    x, y = DeviceArray(np.full((128, 784), 0.5, np.float32)), DeviceArray(np.arange(128) % 10)
    model = eb.models.mlp(tool.MLP).to("cuda")
    model(x)
    cuda.take_launches()
    eb.pgd(model, x, y, eps=0.1, steps=1)
    file = wanted.kernel.split()[0]
    assert [launch for launch in cuda.take_launches() if launch[0] == file] == [(file, wanted.blocks, wanted.threads)]
    device._cuda_table.cache_clear()


def test_the_account_has_every_kernel_that_is_compiled_and_no_other(tool: ModuleType) -> None:
    known = tool.noted_resources(tool.Gpu())
    accounted = {launch.kernel for launches in tool.SECTIONS.values() for launch in launches}
    assert accounted <= known.keys()
    assert {name.partition("<")[0] for name in accounted} == {name.partition("<")[0] for name in known}
