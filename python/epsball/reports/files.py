"""Files written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from epsball.arguments import check_path


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path`; what was written there becomes `path` if the block succeeds.

    It is on the disk before it gets its name, so that a power cut, too, leaves a whole file: the old or the new one.
    Threads of one process must not write to the same `path` at once.
    """
    path = check_path("path", path)
    require_writable_name(path)
    # The suffix stays last: writers such as numpy.savez append one where they miss it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make a new name last; where a file system cannot, the file is whole under its old name or its new one."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_writable_name(path: Path) -> None:
    """Name the caller's path where writing would fail on the temporary one."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "wanted a file to write, got a folder", str(path))
    if not path.parent.exists():
        raise FileNotFoundError(errno.ENOENT, "wanted a file in a folder that exists, got", str(path))
    if not path.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "wanted a file in a folder, but its parent is a file", str(path))
    if not os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, "wanted a file in a folder that can be written to, got", str(path))


def write_text(path: str | PathLike[str], text: str) -> None:
    """Write a text file: temporary name, then rename."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_json(document: Mapping[str, Any]) -> str:
    """Return strict JSON (NaN is an error); arrays become lists and NumPy scalars numbers."""
    return json.dumps(plain(document), indent=2, allow_nan=False)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: arrays and tuples become lists, NumPy scalars numbers."""
    if isinstance(value, Mapping):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        return np.asarray(value).tolist()
    return value
