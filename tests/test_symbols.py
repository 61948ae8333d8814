"""Code compiled for one instruction set does not leak into another table or into the baseline.

Two object files that define the same weak symbol (an inline function, a template instance) let the
linker keep either copy; an AVX-512 copy of `std::max` in the baseline is an illegal instruction on an
older machine. Three checks, from strong to weak, each skipped where its input is missing:
- objects: no weak symbol is defined in the objects of two instruction sets (needs the build folder:
  `build/` of the checkout, or EPSBALL_BUILD_DIR);
- disassembly: in the shared module every function that uses zmm registers lies in the namespace of an
  AVX-512 table (needs an unstripped module, for the names);
- exports: the module exports nothing but its Python entry point, so no foreign copy can replace ours.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import epsball as eb

MODULE = Path(eb._native.__file__)
REPOSITORY = Path(__file__).resolve().parents[1]
ISAS = ("scalar", "avx2", "avx512", "neon")


def tool(name: str, *arguments: str) -> str:
    """Output of a binutils program; the test is skipped where it is not installed."""
    if shutil.which(name) is None:  # a wheel may be tested where no compiler is; CI builds, so it has binutils
        pytest.skip(f"{name} is not installed")
    return subprocess.run([name, *arguments], capture_output=True, text=True, check=True).stdout


def objects_by_isa() -> dict[str, list[Path]]:
    """Object files of the newest build folder, by the ISA in their target's folder name."""
    given = os.environ.get("EPSBALL_BUILD_DIR")
    root = Path(given) if given else REPOSITORY / "build"
    found: dict[str, dict[str, list[Path]]] = {}
    for path in root.rglob("*.o") if root.is_dir() else []:
        folder, _, inside = str(path).partition("/CMakeFiles/")
        isa = re.search(rf"({'|'.join(ISAS)})\.dir/", inside)
        if isa:
            found.setdefault(folder, {}).setdefault(isa.group(1), []).append(path)
    if not found:
        return {}
    newest = max(found, key=lambda f: max(p.stat().st_mtime for ps in found[f].values() for p in ps))
    return found[newest]


def weak_symbols(paths: list[Path]) -> set[str]:
    """Weak or unique definitions: what the linker may take from any object."""
    out = set()
    for path in paths:
        for line in tool("nm", "-C", "--defined-only", str(path)).splitlines():
            match = re.match(r"[0-9a-f]+ ([WVu]) (.*)", line)
            if match:
                out.add(match.group(2))
    return out


def test_no_weak_symbol_is_shared_by_two_instruction_sets() -> None:
    objects = objects_by_isa()
    if len(objects) < 2:
        pytest.skip("no build folder with the objects of two instruction sets")
    weak = {isa: weak_symbols(paths) for isa, paths in objects.items()}
    for isa, symbols in weak.items():
        for other, others in weak.items():
            if isa < other:
                assert not symbols & others, f"{isa} and {other} both define {sorted(symbols & others)[:5]}"
        # A weak std:: symbol is shared with the baseline, which has the same one or may get it tomorrow.
        standard = sorted(s for s in symbols if s.startswith("std::"))
        assert not standard, f"{isa} defines {standard[:5]}"


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
