"""Reader for IDX files, the format in which MNIST is published: plain or gzipped, checked before it is believed."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

UNSIGNED_BYTE = 0x08  # the only element type that MNIST and its relatives use


def read(
    path: str | PathLike[str], *, shape: tuple[int, ...] | None = None, md5: str | None = None
) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    Parameters
    ----------
    path
        The file; a name that ends in ``.gz`` is decompressed.
    shape
        The shape that the array must have, or None to take what the header says.
    md5
        Hexadecimal MD5 of the decompressed file, or None to leave it unchecked.

    Returns
    -------
    ndarray of uint8
        Shape as in the file's header; not writable (a view of the bytes read).

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is truncated or too long, is not gzip, has the wrong magic number, shape or checksum.
        The message names the file, what was found and what was expected.
    """
    path = Path(path)
    content = _decompressed(path)
    dimensions = _dimensions(path, content, shape)
    header = 4 + 4 * len(dimensions)
    expected = header + math.prod(dimensions)
    if len(content) != expected:
        raise ValueError(f"{path}: holds {len(content)} bytes, but its header {dimensions} calls for {expected}")
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 is not None and found != md5:
        raise ValueError(f"{path}: MD5 of the decompressed file is {found}, expected {md5}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(dimensions)


def _decompressed(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: truncated or damaged, expected a complete gzip file ({error})") from error


def _dimensions(path: Path, content: bytes, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Check the magic number (two zeros, the element type, the number of dimensions) and return the shape."""
    wanted = "0x000008NN" if shape is None else f"0x{UNSIGNED_BYTE << 8 | len(shape):08x}"
    magic = content[:4]
    right = len(magic) == 4 and magic[:3] == bytes((0, 0, UNSIGNED_BYTE)) and (shape is None or magic[3] == len(shape))
    if not right:
        raise ValueError(f"{path}: magic number is 0x{magic.hex()}, expected {wanted} (an IDX file of unsigned bytes)")
    header = content[4 : 4 + 4 * magic[3]]
    if len(header) != 4 * magic[3]:
        raise ValueError(f"{path}: ends inside its header, expected {magic[3]} dimensions")
    dimensions = struct.unpack(f">{magic[3]}I", header)
    if shape is not None and dimensions != shape:
        raise ValueError(f"{path}: header says shape {dimensions}, expected {shape}")
    return dimensions
