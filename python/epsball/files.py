"""Tensors in safetensors files with a format name and version; and what tells the run that wrote one from another."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import check_path
from epsball.reports.files import replacing

BLOCK = 2**20  # bytes of an array that are copied at once


def save_tensors(
    path: str | PathLike[str],
    tensors: Mapping[str, npt.NDArray[Any]],
    kind: str,
    version: int,
    header: Mapping[str, Any],
) -> None:
    """Write tensors and a JSON header under a temporary name, then rename."""
    from safetensors.numpy import save

    metadata = {"format": kind, "version": str(version), "header": json.dumps(header, allow_nan=False)}
    content = save({name: np.ascontiguousarray(t) for name, t in tensors.items()}, metadata)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def load_tensors(
    path: str | PathLike[str], kind: str, version: int
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises
    ------
    ValueError
        The file is no intact safetensors file, or not of this kind and version; the message names the file.
    OSError
        It is missing, a folder or not readable.
    """
    from safetensors import SafetensorError, safe_open

    path = check_path("path", path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "wanted a safetensors file, got a folder", str(path))
    path.open("rb").close()  # a missing or unreadable file is an OSError that names it; safetensors' does not
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: not an intact safetensors file: {error}") from error
    if metadata.get("format") != kind:
        raise ValueError(f"{path}: wanted a file of kind {kind!r}, got {metadata.get('format')!r}")
    found = metadata.get("version", "")
    if not found.isdecimal() or not 1 <= int(found) <= version:
        raise ValueError(f"{path}: format version {found!r}; this epsball reads versions 1 to {version}")
    try:
        header = json.loads(metadata["header"])
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: its header is damaged: {error!r}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path}: its header is damaged: wanted an object, got {type(header).__name__}")
    return tensors, header


def save_run(
    path: str | PathLike[str],
    tensors: Mapping[str, npt.NDArray[Any]],
    kind: str,
    version: int,
    header: Mapping[str, Any],
) -> None:
    """Write what a run has to go on from, as `save_tensors` does, with a fingerprint of all of it."""
    save_tensors(path, tensors, kind, version, {**header, "fingerprint": _fingerprint_of_file(tensors, header)})


def load_run(path: str | PathLike[str], kind: str, version: int) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read what `save_run` wrote.

    Raises
    ------
    ValueError, OSError
        As `load_tensors`; and where a bit of the file is not as it was written.
    """
    tensors, header = load_tensors(path, kind, version)
    if header.pop("fingerprint", None) != _fingerprint_of_file(tensors, header):
        raise ValueError(f"{path}: it is damaged: its contents are not those that were written")
    return tensors, header


def _fingerprint_of_file(tensors: Mapping[str, npt.NDArray[Any]], header: Mapping[str, Any]) -> str:
    text = json.dumps([header, sorted(tensors)], sort_keys=True).encode()
    return fingerprint(np.frombuffer(text, np.uint8), *(tensors[name] for name in sorted(tensors)))


def fingerprint(*arrays: npt.NDArray[Any]) -> str:
    """Return what tells arrays from others; every byte, shape and dtype counts."""
    digest = hashlib.blake2b(digest_size=16)
    for a in arrays:
        digest.update(repr((a.shape, a.dtype.str)).encode())
        for rows in _blocks(a):
            digest.update(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _blocks(a: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Return an array in views of a few rows: copies of those of a mapped file are small."""
    if a.ndim == 0 or a.size == 0 or a.flags.c_contiguous:
        return [a]
    count = max(1, BLOCK // max(a[0].nbytes, 1))
    return [a[first : first + count] for first in range(0, len(a), count)]


def fingerprint_of_rows(*arrays: npt.NDArray[Any]) -> str:
    """Return a fingerprint that says how many rows they are: where two differ, people read it."""
    return f"{len(arrays[0]):,} rows ({fingerprint(*arrays)})"


def require_same_run(of_another: str, before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> None:
    """Raise where the run that wrote a file had other settings; `of_another` names the file, the rest the setting."""
    for key in sorted({*now, *before}):
        was, is_now, name = before.get(key), now.get(key), f"{within}[{key!r}]" if within else key
        if isinstance(was, Mapping) and isinstance(is_now, Mapping):
            require_same_run(of_another, was, is_now, name)
        elif was != is_now:
            raise ValueError(f"{of_another}: {name} was {was!r}, now it is {is_now!r}")
