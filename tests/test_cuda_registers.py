"""tools/check_cuda_registers.py reads what ptxas says, and complains of spills and of growth."""

import importlib.util
import json
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
ptxas info    : Used 12 registers, used 1 barriers, 24832 bytes smem, 360 bytes cmem[0]
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


def test_a_log_gives_registers_shared_memory_and_spills_by_kernel(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "plain_name", lambda name: name[-8:])  # c++filt may not be installed
    registers, shared, spills = tool.read_ptxas("gemm.cu", LOG)
    assert registers == {"sm_80 gemm.cu a3bigEPf": 32, "sm_90 gemm.cu i3EEEvPf": 12}
    assert shared == {"sm_90 gemm.cu i3EEEvPf": 24832}
    assert spills == ["sm_80 gemm.cu a3bigEPf: spills 404 bytes, loads 416 back"]


def test_growth_new_kernels_and_stale_lines_are_complained_of(tool: ModuleType) -> None:
    assert tool.differences({"a": 32}, {"a": 32}) == []
    assert tool.differences({"a": 31}, {"a": 32}) == []
    assert len(tool.differences({"a": 33}, {"a": 32})) == 1
    assert len(tool.differences({"a": 33, "b": 1}, {"a": 33})) == 1
    assert len(tool.differences({"a": 33}, {"a": 33, "b": 1})) == 1


def test_what_is_written_of_some_files_leaves_the_rest(tool: ModuleType, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    tool.write(table, {"sm_80 gemm.cu a": 1, "sm_80 conv.cu b": 2}, [Path("gemm.cu"), Path("conv.cu")])
    tool.write(table, {"sm_80 gemm.cu c": 3}, [Path("gemm.cu")])
    assert json.loads(table.read_text()) == {"sm_80 conv.cu b": 2, "sm_80 gemm.cu c": 3}


def test_other_shared_memory_is_complained_of(tool: ModuleType) -> None:
    assert tool.changes({"a": 8}, {"a": 8}) == []
    assert tool.changes({"a": 8, "b": 4}, {"a": 4, "c": 1}) == [
        "a: 8 bytes of shared memory, shared.json says 4",
        "b: 4 bytes of shared memory, shared.json says 0",
        "c: 0 bytes of shared memory, shared.json says 1",
    ]
