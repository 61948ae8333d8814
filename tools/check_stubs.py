"""Compares python/epsball/_native.pyi with the installed module; `--write` brings it up to date."""

import difflib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

STUB = Path(__file__).parent.parent / "python/epsball/_native.pyi"
HEADER = "# What the native module offers, written by tools/check_stubs.py --write.\n"
# pybind11 says more than a reader wants, and each release says it differently; mypy wants type arguments.
PLAINER = (
    (r"typing\.SupportsInt(?: \| typing\.SupportsIndex)?", "int"),
    (r"typing\.SupportsFloat(?: \| typing\.SupportsIndex)?", "float"),
    (r"typing\.Annotated\[numpy\.typing\.ArrayLike, (numpy\.\w+)\]", r"numpy.typing.NDArray[\1]"),
    (r"numpy\.ndarray\b(?!\[)", "numpy.typing.NDArray[typing.Any]"),
    (r"collections\.abc\.Callable\b(?!\[)", "collections.abc.Callable[..., typing.Any]"),
    (r"\btuple\b(?!\[)", "tuple[typing.Any, ...]"),
    (r"\bdict\b(?!\[)", "dict[str, typing.Any]"),
    (r"\blist\b(?!\[)", "list[typing.Any]"),
    (r'"""\s*(.*?)\s*"""', r'"""\1"""'),
    (r"\n +\.\.\.", " ..."),
    (r"__all__: list\[str\] = \[[^\]]*\]\n", ""),
)


def plainer(stub: str) -> str:
    """The stub in words that do not change with the releases of pybind11, laid out by ruff."""
    for pattern, replacement in PLAINER:
        stub = re.sub(pattern, replacement, stub)
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "_native.pyi", "--line-length", "120", "-"]
    return subprocess.run(command, input=stub, capture_output=True, text=True, check=True).stdout


def generate() -> str:
    with tempfile.TemporaryDirectory() as folder:
        # The folder is also the working directory, so that the installed package is the one seen.
        command = [sys.executable, "-m", "pybind11_stubgen", "epsball._native", "--output-dir", "."]
        subprocess.run(command, cwd=folder, check=True)
        return plainer(HEADER + Path(folder, "epsball/_native.pyi").read_text())


def main() -> int:
    wanted = generate()
    if "--write" in sys.argv[1:]:
        STUB.write_text(wanted)
        return 0
    found = STUB.read_text() if STUB.exists() else ""
    lines = difflib.unified_diff(
        found.splitlines(), wanted.splitlines(), str(STUB.name), "the installed module", lineterm=""
    )
    difference = "\n".join(lines)
    if difference:
        print(difference, "\nRun: python tools/check_stubs.py --write", sep="\n")
        return 1
    print(f"{STUB.name} matches the installed module")
    return 0


if __name__ == "__main__":
    sys.exit(main())
