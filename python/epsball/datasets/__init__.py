"""Data sets by name: found on disk, in the cache or downloaded, always checked, never replaced by another."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from epsball.arguments import one_of
from epsball.datasets import idx

__all__ = ["NAMES", "load"]

_SHIPPED = Path(__file__).parent / "data"


@dataclass(frozen=True)
class _File:
    """One gzipped IDX file; ``md5`` is that of the decompressed file, ``gz_md5`` that of the published one."""

    name: str
    shape: tuple[int, ...]
    md5: str
    gz_md5: str = ""


@dataclass(frozen=True)
class _DataSet:
    """The images and labels of each split, and where they are published (None: they ship with the package)."""

    splits: dict[str, tuple[_File, _File]]
    url: str | None


def _split(prefix: str, rows: int, images: tuple[str, str], labels: tuple[str, str]) -> tuple[_File, _File]:
    return (
        _File(f"{prefix}-images-idx3-ubyte.gz", (rows, 28, 28), *images),
        _File(f"{prefix}-labels-idx1-ubyte.gz", (rows,), *labels),
    )


_DATA_SETS = {
    "mnist": _DataSet(
        {
            "train": _split(
                "train",
                60_000,
                ("6bbc9ace898e44ae57da46a324031adb", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
                ("a25bea736e30d166cdddb491f175f624", "d53e105ee54ea40749a09fcbcd1e9432"),
            ),
            "test": _split(
                "t10k",
                10_000,
                ("2646ac647ad5339dbf082846283269ea", "9fb629c4189551a2d022fa330f9573f3"),
                ("27ae3e4e09519cfbb04c329615203637", "ec29112dd5afa0611ce80d1b7f02629c"),
            ),
        },
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    "fashion-mnist": _DataSet(
        {
            "train": _split(
                "train",
                60_000,
                ("f4a8712d7a061bf5bd6d2ca38dc4d50a", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                ("9018921c3c673c538a1fc5bad174d6f9", "25c81989df183df01b3e8a0aad5dffbe"),
            ),
            "test": _split(
                "t10k",
                10_000,
                ("8181f5470baa50b63fa0f6fddb340f0a", "bef4ecab320f06d8554ea6380940ec79"),
                ("15d484375f8d13e6eb1aabb0c3f46965", "bb300cfdad3c16e7a12a480ee83cd310"),
            ),
        },
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    "mnist-subset": _DataSet(
        {
            "train": _split(
                "train",
                10_000,
                ("5c79385d982930bb52f9d200093d60cd", ""),
                ("beaf9e7e23e2a3ad94b75ef1d42458a8", ""),
            ),
            "test": _split(
                "t10k",
                2_000,
                ("7d2caee895c5e6f38daf7e43837d75f2", ""),
                ("ec52ffaa2b1ad7f12a545e6e7a88529d", ""),
            ),
        },
        None,
    ),
}

NAMES = tuple(_DATA_SETS)


def load(name: str, split: str = "train") -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Load a data set of 28 × 28 grey images in ten classes.

    Each file is looked for in ``$EPSBALL_DATA/<name>/``, then in the cache (``$EPSBALL_CACHE/<name>/``, by
    default ``~/.cache/epsball/<name>/``), gzipped or plain, and then downloaded into the cache if pooch is
    installed (``pip install "epsball[data]"``). Wherever it comes from, its checksum is verified: a file that
    is there but wrong is an error, it is not passed over. ``mnist-subset`` ships inside the package and is
    read from there only.

    Parameters
    ----------
    name
        ``"mnist"`` (60,000 + 10,000 digits), ``"fashion-mnist"`` (60,000 + 10,000 garments) or
        ``"mnist-subset"`` (every sixth training and every fifth test digit of MNIST: 10,000 + 2,000).
    split
        ``"train"`` or ``"test"``.

    Returns
    -------
    x : ndarray of float32, shape (N, 1, 28, 28)
        Pixels in [0, 1].
    y : ndarray of int64, shape (N,)
        Class indices 0 … 9.

    Raises
    ------
    ValueError
        The name or split is unknown, or a file is damaged (the message names it and what was expected).
    FileNotFoundError
        The set is neither on disk nor can it be downloaded.
    """
    splits = _DATA_SETS[one_of("name", name, NAMES)].splits
    one_of("split", split, splits)
    images, labels = (idx.read(_find(name, file), shape=file.shape, md5=file.md5) for file in splits[split])
    x = np.divide(images[:, None], 255, dtype=np.float32)
    return x, labels.astype(np.int64)


def _find(name: str, file: _File) -> Path:
    """Return the path of one file of a data set, downloading it if need be."""
    url = _DATA_SETS[name].url
    if url is None:
        return _SHIPPED / name / file.name
    cache = Path(os.environ.get("EPSBALL_CACHE") or Path.home() / ".cache" / "epsball")
    folders = [cache / name]
    if data := os.environ.get("EPSBALL_DATA"):
        folders.insert(0, Path(data) / name)
    for folder in folders:
        for path in (folder / file.name, folder / file.name.removesuffix(".gz")):
            if path.is_file():
                return path
    return _download(name, file, url, folders)


def _download(name: str, file: _File, url: str, searched: list[Path]) -> Path:
    """Fetch one file into the cache, the last folder of `searched`; pooch checks it before it gets its name."""
    places = " and ".join(map(str, searched))
    advice = 'set EPSBALL_DATA to a folder that has it, or use "mnist-subset", which ships with epsball'
    try:
        import pooch
    except ImportError as error:
        raise FileNotFoundError(
            f"{name}: {file.name} is not in {places}, and pooch, which would download it, is not installed "
            f'(pip install "epsball[data]"); {advice}'
        ) from error
    try:
        return Path(pooch.retrieve(url + file.name, f"md5:{file.gz_md5}", file.name, searched[-1]))
    except (OSError, ValueError) as error:  # no network, or the mirror serves something else
        raise FileNotFoundError(f"{name}: cannot download {url}{file.name} ({error}); {advice}") from error
