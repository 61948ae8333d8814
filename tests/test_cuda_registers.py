"""tools/check_cuda_registers.py reads what ptxas says, and complains of spills and of growth."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN7epsball4cuda3bigEPf' for 'sm_80'
ptxas info    : Function properties for _ZN7epsball4cuda3bigEPf
    368 bytes stack frame, 404 bytes spill stores, 416 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers, 368 bytes cumulative stack size, 360 bytes cmem[0]
ptxas info    : Compiling entry function '_ZN7epsball4cuda12_GLOBAL__N_15smallILi3EEEvPf' for 'sm_90'
ptxas info    : Function properties for _ZN7epsball4cuda12_GLOBAL__N_15smallILi3EEEvPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, 360 bytes cmem[0]
"""


@pytest.fixture
def tool() -> ModuleType:
    path = Path(__file__).parents[1] / "tools/check_cuda_registers.py"
    if not path.exists():
        pytest.skip("tools/ is not part of what is tested here")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_log_gives_registers_by_kernel_and_its_spills(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "plain_name", lambda name: name[-8:])  # c++filt may not be installed
    registers, spills = tool.read_ptxas("gemm.cu", LOG)
    assert registers == {"sm_80 gemm.cu a3bigEPf": 32, "sm_90 gemm.cu i3EEEvPf": 12}
    assert spills == ["sm_80 gemm.cu a3bigEPf: spills 404 bytes, loads 416 back"]


def test_growth_new_kernels_and_stale_lines_are_complained_of(tool: ModuleType) -> None:
    assert tool.differences({"a": 32}, {"a": 32}) == []
    assert tool.differences({"a": 31}, {"a": 32}) == []
    assert len(tool.differences({"a": 33}, {"a": 32})) == 1
    assert len(tool.differences({"a": 33, "b": 1}, {"a": 33})) == 1
    assert len(tool.differences({"a": 33}, {"a": 33, "b": 1})) == 1
