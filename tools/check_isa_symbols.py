"""Fails if a kernel object holds a function that the linker may share with other code.

The linker keeps one copy of a weak (inline or template) function. Were it the AVX-512 copy of
std::max, the baseline engine would die of SIGILL on an older processor. So every weak function of an
ISA's objects must be in that ISA's own namespace.

    python tools/check_isa_symbols.py build/release
"""

import re
import subprocess
import sys
from pathlib import Path


def shared_symbols(obj: Path, isa: str) -> list[str]:
    """Weak and unique symbols defined in the object file that do not belong to the ISA's namespace."""
    nm = subprocess.run(["nm", "--defined-only", "--demangle", obj], capture_output=True, text=True, check=True)
    weak = re.findall(r"^[0-9a-f]+ [WVu] (.+)$", nm.stdout, flags=re.MULTILINE)
    return [name for name in weak if f"epsball::{isa}::" not in name]


def main() -> int:
    build = Path(sys.argv[1])
    checked = failed = 0
    for obj in sorted(build.glob("CMakeFiles/cpu_*.dir/**/*.o")):
        isa = re.search(r"cpu_(\w+)\.dir", str(obj))[1]
        names = shared_symbols(obj, isa)
        for name in names:
            print(f"{obj.name} ({isa}): {name}")
        checked += 1
        failed += bool(names)
    print(f"{checked} kernel objects under {build}, {failed} with symbols of others")
    return 0 if checked and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
