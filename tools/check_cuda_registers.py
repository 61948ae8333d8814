"""Fails if a CUDA kernel spills registers or uses more than cuda/registers.json says; `--write` brings that up to date.

No GPU is asked: ptxas says what it allocated. A kernel that grows may still be right, but somebody has to look. The
static shared memory of blocks, which benchmarks/gpu.md accounts for, stands in cuda/shared.json.

    python tools/check_cuda_registers.py [--write] [--nvcc PATH] [gemm.cu ...]
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "cuda/registers.json"
SHARED = ROOT / "cuda/shared.json"
ARCHITECTURES = ("80", "90")
# as in cmake/cuda.cmake
FLAGS = ["-std=c++20", "-O3", "-fmad=false", "-Werror", "all-warnings", "-Xcompiler=-Wall,-Wextra", "-Xptxas", "-v"]

Registers = dict[str, int]  # by "sm_80 gemm.cu kernel"
SharedBytes = dict[str, int]  # the same, of kernels that have some

KERNEL = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<architecture>\w+)'.*?"
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?:[^\n]*?(?P<shared>\d+) bytes smem)?",
    flags=re.DOTALL,
)


def plain_name(mangled: str) -> str:
    """The kernel's name without namespaces and arguments, with its template arguments."""
    name = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout.strip()
    name = name.replace("(anonymous namespace)::", "").replace("epsball::cuda::", "").removeprefix("void ")
    depth = 0
    for i, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            return name[:i]
    return name


def read_ptxas(source: str, log: str) -> tuple[Registers, SharedBytes, list[str]]:
    """What `nvcc -Xptxas -v` says of a file: registers and shared memory by kernel, and a line for each that spills."""
    registers, shared, spills = {}, {}, []
    for kernel in KERNEL.finditer(log):
        key = f"{kernel['architecture']} {source} {plain_name(kernel['name'])}"
        registers[key] = int(kernel["registers"])
        if kernel["shared"]:
            shared[key] = int(kernel["shared"])
        if int(kernel["stores"]) or int(kernel["loads"]):
            spills.append(f"{key}: spills {kernel['stores']} bytes, loads {kernel['loads']} back")
    return registers, shared, spills


def compile_file(nvcc: str, source: Path) -> tuple[Registers, SharedBytes, list[str]]:
    targets = [f"-gencode=arch=compute_{a},code=[sm_{a},compute_{a}]" for a in ARCHITECTURES]
    folders = [f"-I{ROOT}", f"-I{ROOT / 'src'}", f"-I{ROOT / 'cuda'}"]
    with tempfile.TemporaryDirectory() as scratch:
        command = [nvcc, *FLAGS, *targets, *folders, "-c", str(source), "-o", f"{scratch}/kernels.o"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {}, {}, [f"{source.name} does not compile:\n{done.stdout}{done.stderr}"]
    return read_ptxas(source.name, done.stdout + done.stderr)


def differences(found: Registers, allowed: Registers) -> list[str]:
    """One line per kernel that uses more than the table allows, and per line of the table that fits no kernel."""
    lines = [f"{k}: {n} registers, {allowed[k]} allowed" for k, n in found.items() if n > allowed.get(k, n)]
    lines += [f"{k}: not in {TABLE.name} ({n} registers)" for k, n in found.items() if k not in allowed]
    return lines + [f"{k}: in {TABLE.name}, but there is no such kernel" for k in allowed if k not in found]


def changes(shared: SharedBytes, noted: SharedBytes) -> list[str]:
    """One line per kernel whose blocks have other shared memory than is noted."""
    kernels = sorted(shared.keys() | noted.keys())
    pairs = [(k, shared.get(k, 0), noted.get(k, 0)) for k in kernels]
    return [f"{k}: {n} bytes of shared memory, {SHARED.name} says {was}" for k, n, was in pairs if n != was]


def read(table: Path, files: list[str]) -> dict[str, int]:
    """What a table says of these files, or of all."""
    values: dict[str, int] = json.loads(table.read_text())
    return {k: n for k, n in values.items() if not files or k.split()[1] in files}


def write(table: Path, found: dict[str, int], sources: list[Path]) -> None:
    """Replace what a table says of these files."""
    names = {source.name for source in sources}
    before = json.loads(table.read_text()) if table.exists() else {}
    kept = {k: n for k, n in before.items() if k.split()[1] not in names and (ROOT / "cuda" / k.split()[1]).exists()}
    table.write_text(json.dumps(dict(sorted((kept | found).items())), indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write what is used now to cuda/registers.json")
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("files", nargs="*", help="of cuda/; all of them")
    options = parser.parse_args()

    found: Registers = {}
    shared: SharedBytes = {}
    failures: list[str] = []
    sources = [ROOT / "cuda" / name for name in options.files] or sorted(ROOT.glob("cuda/*.cu"))
    with ThreadPoolExecutor(2) as pool:
        for registers, bytes_of, problems in pool.map(lambda source: compile_file(options.nvcc, source), sources):
            found |= registers
            shared |= bytes_of
            failures += problems
    if options.write and not failures:
        write(TABLE, found, sources)
        write(SHARED, shared, sources)
    else:
        failures += differences(found, read(TABLE, options.files)) + changes(shared, read(SHARED, options.files))
    for line in failures:
        print(line)
    print(f"{len(found)} kernels of {len(sources)} files, {len(failures)} complaints")
    return 1 if failures or not found else 0


if __name__ == "__main__":
    sys.exit(main())
