"""The module that nvcc builds: without a GPU it can be imported, and says in one line what is missing."""

from __future__ import annotations

import pytest

import epsball as eb
from epsball import device


@pytest.fixture
def problem() -> str:
    """What is missing here."""
    try:
        module = device._cuda_module()
    except ImportError:
        pytest.skip("needs a build with EPSBALL_CUDA=ON")
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
