"""Fails if a CUDA kernel spills registers or uses more than cuda/registers.json says; `--write` brings that up to date.

No GPU is asked: ptxas says what it allocated. A kernel that grows may still be right, but somebody has to look.

    python tools/check_cuda_registers.py [--write] [--nvcc PATH]
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
ARCHITECTURES = ("80", "90")
# as in cmake/cuda.cmake
FLAGS = ["-std=c++20", "-O3", "-fmad=false", "-Werror", "all-warnings", "-Xcompiler=-Wall,-Wextra", "-Xptxas", "-v"]

Registers = dict[str, int]  # by "sm_80 gemm.cu kernel"

KERNEL = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<architecture>\w+)'.*?"
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
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


def read_ptxas(source: str, log: str) -> tuple[Registers, list[str]]:
    """What `nvcc -Xptxas -v` says of a file: registers per kernel, and one line per kernel that spills."""
    registers, spills = {}, []
    for kernel in KERNEL.finditer(log):
        key = f"{kernel['architecture']} {source} {plain_name(kernel['name'])}"
        registers[key] = int(kernel["registers"])
        if int(kernel["stores"]) or int(kernel["loads"]):
            spills.append(f"{key}: spills {kernel['stores']} bytes, loads {kernel['loads']} back")
    return registers, spills


def compile_file(nvcc: str, source: Path) -> tuple[Registers, list[str]]:
    targets = [f"-gencode=arch=compute_{a},code=[sm_{a},compute_{a}]" for a in ARCHITECTURES]
    folders = [f"-I{ROOT}", f"-I{ROOT / 'src'}", f"-I{ROOT / 'cuda'}"]
    with tempfile.TemporaryDirectory() as scratch:
        command = [nvcc, *FLAGS, *targets, *folders, "-c", str(source), "-o", f"{scratch}/kernels.o"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {}, [f"{source.name} does not compile:\n{done.stdout}{done.stderr}"]
    return read_ptxas(source.name, done.stdout + done.stderr)


def differences(found: Registers, allowed: Registers) -> list[str]:
    """One line per kernel that uses more than the table allows, and per line of the table that fits no kernel."""
    lines = [f"{k}: {n} registers, {allowed[k]} allowed" for k, n in found.items() if n > allowed.get(k, n)]
    lines += [f"{k}: not in {TABLE.name} ({n} registers)" for k, n in found.items() if k not in allowed]
    return lines + [f"{k}: in {TABLE.name}, but there is no such kernel" for k in allowed if k not in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write what is used now to cuda/registers.json")
    parser.add_argument("--nvcc", default="nvcc")
    options = parser.parse_args()

    found: Registers = {}
    failures: list[str] = []
    sources = sorted(ROOT.glob("cuda/*.cu"))
    with ThreadPoolExecutor(2) as pool:
        for registers, problems in pool.map(lambda source: compile_file(options.nvcc, source), sources):
            found |= registers
            failures += problems
    found = dict(sorted(found.items()))
    if options.write and not failures:
        TABLE.write_text(json.dumps(found, indent=2) + "\n")
    else:
        failures += differences(found, json.loads(TABLE.read_text()))
    for line in failures:
        print(line)
    print(f"{len(found)} kernels of {len(sources)} files, {len(failures)} complaints")
    return 1 if failures or not found else 0


if __name__ == "__main__":
    sys.exit(main())
