"""The CUDA kernels have tests under the sanitizers; the module that nvcc builds says without a GPU what is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import epsball as eb
from epsball import device

ROOT = Path(__file__).parents[1]


def test_every_kernel_of_the_table_has_a_test_under_the_sanitizers() -> None:
    if not (ROOT / "cuda").is_dir():
        pytest.skip("cuda/ is not part of what is tested here")
    table = (ROOT / "src/kernels.h").read_text().partition("struct Kernels {")[2]
    absent = {"linear_step", "fma_loop"} | set(re.findall(r"\w+_regions?", table))  # which a GPU's table has not
    kernels = set(re.findall(r"\(\*(\w+)\)\(", table)) - absent
    tests = "".join(path.read_text() for path in (ROOT / "tests/cuda").glob("test_*.cpp"))
    called = set(re.findall(r"(?:\.|->|::)(\w+)", tests))
    assert len(kernels) > 80
    assert kernels - called == set()


@pytest.fixture
def problem() -> str:
    """What is missing here."""
    try:
        module = device._cuda_module()
    except ImportError:
        pytest.skip("was built where nvcc is not found")
    problem = module.problem()
    if problem == "":
        pytest.skip("there is a GPU here")
    return problem


def test_a_machine_without_a_gpu_hears_so_in_one_line(problem: str) -> None:
    model = eb.models.linear(4, 3)
    with pytest.raises(RuntimeError) as raised:
        model.to("cuda")
    assert str(raised.value) == f"device: 'cuda' cannot be used: {problem}"
    assert "\n" not in problem
    assert model.device == "cpu"
    assert model.to("cpu") is model
    assert eb.info()["cuda"] == problem
