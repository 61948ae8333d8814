"""Make the MNIST subset that ships in the package: every sixth training and every fifth test digit of the original."""

from __future__ import annotations

import argparse
import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from epsball.datasets import idx

# Every k-th digit, not the first ones: the subset then holds every writer and both halves of the test set
# (the second half is the harder one) in the proportions of the whole.
STRIDES = {"train": 6, "t10k": 5}
DATA = Path(__file__).resolve().parent.parent / "python" / "epsball" / "datasets" / "data" / "mnist-subset"


def encode(array: npt.NDArray[np.uint8]) -> bytes:
    """Return the IDX file of an array of unsigned bytes."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, idx.UNSIGNED_BYTE, array.ndim, *array.shape)
    return header + array.tobytes()


def main() -> None:
    """Read the four original files and write the four of the subset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", type=Path, help="folder with the four original IDX files, gzipped")
    parser.add_argument("--out", type=Path, default=DATA, help="folder to write to (default: the package's)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for split, stride in STRIDES.items():
        for kind in ("images-idx3", "labels-idx1"):
            name = f"{split}-{kind}-ubyte.gz"
            content = encode(idx.read(arguments.mnist / name)[::stride])
            # No time and no file name in the gzip header, so that one zlib always writes the same bytes.
            (arguments.out / name).write_bytes(gzip.compress(content, compresslevel=9, mtime=0))
            print(f"{arguments.out / name}: {len(content)} bytes")


if __name__ == "__main__":
    main()
