"""Code compiled for one instruction set does not leak into another table or into the baseline.

Two object files that define the same weak symbol (an inline function, a template instance) let the
linker keep either copy; an AVX-512 copy of `std::max` in the baseline is an illegal instruction on an
older machine. Three checks, from strong to weak, each skipped where its input is missing:
- objects: every weak symbol of a kernel object lies in the namespace of its own instruction set, says
  tools/check_isa_symbols.py (needs the build folder of an install, build/cp*);
- disassembly: in the shared module every function that uses zmm registers lies in the namespace of an
  AVX-512 table (needs an unstripped module, for the names);
- exports: the module exports nothing but its Python entry point, so no foreign copy can replace ours.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import epsball as eb

MODULE = Path(eb._native.__file__)
REPOSITORY = Path(__file__).resolve().parents[1]
TOOL = REPOSITORY / "tools/check_isa_symbols.py"


def tool(name: str, *arguments: str) -> str:
    """Output of a binutils program; the test is skipped where it is not installed."""
    if shutil.which(name) is None:  # a wheel may be tested where no compiler is; CI builds, so it has binutils
        pytest.skip(f"{name} is not installed")
    return subprocess.run([name, *arguments], capture_output=True, text=True, check=True).stdout


def test_no_kernel_object_defines_a_symbol_that_the_linker_may_share() -> None:
    trees = sorted(REPOSITORY.glob("build/cp*"))
    if not trees or not TOOL.exists() or shutil.which("nm") is None:
        pytest.skip("no build folder of an install, or no tool to look at it")
    for tree in trees:
        found = subprocess.run([sys.executable, TOOL, tree], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr


def test_wide_registers_appear_in_the_avx512_table_only() -> None:
    if "avx512" not in eb.backends() and "avx2" not in eb.backends():
        pytest.skip("no x86-64 tables here")
    names = tool("nm", "-C", str(MODULE)) if shutil.which("nm") else ""
    if "avx512" not in names:
        pytest.skip("the module is stripped: its functions have no names")
    leaks, name, users = [], "", 0
    for line in tool("objdump", "-d", "-C", "--no-show-raw-insn", str(MODULE)).splitlines():
        header = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if header:
            name = header.group(1)
        elif "%zmm" in line:
            users += 1
            if "avx512" not in name:
                leaks.append(name)
    assert users > 0, "the AVX-512 table uses no wide register: the test looks at nothing"
    assert not leaks, f"wide registers in {sorted(set(leaks))[:5]}"


def test_module_exports_its_entry_point_only() -> None:
    lines = tool("nm", "-D", "-C", "--defined-only", str(MODULE)).splitlines()
    exported = {line.split(maxsplit=2)[2] for line in lines}
    assert exported == {"PyInit__native"}
