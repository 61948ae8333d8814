"""Fixtures shared by the suite: the table under test, threads and slabs, digits, a clean process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

try:
    import epsball as eb

    TABLES = list(eb.backends())
except ImportError:  # the oracle's own tests run without the engine; every other file fails to import
    TABLES = []

try:  # the CUDA kernels on the emulator, where its module is on the path: PYTHONPATH=build/cuda-module
    import _cuda_emulated

    TABLES.append(eb._native.add_table(_cuda_emulated.table()))
except ImportError:
    pass

try:  # a real GPU: `pytest -m gpu` runs the same matrix there
    from epsball import _cuda

    if _cuda.problem() == "":
        TABLES.append(pytest.param(eb._native.add_table(_cuda.table()), marks=pytest.mark.gpu))
except ImportError:
    pass

MNIST_FILES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")


def has_full_mnist() -> bool:
    """Whether EPSBALL_DATA holds the MNIST images, gzipped or not."""
    root = os.environ.get("EPSBALL_DATA")
    if not root:
        return False
    folder = Path(root) / "mnist"
    return all((folder / n).exists() or (folder / f"{n}.gz").exists() for n in MNIST_FILES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if has_full_mnist():
        return
    skip = pytest.mark.skip(reason="EPSBALL_DATA does not hold the full MNIST")
    for item in items:
        if "full_mnist" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs once on every kernel table of this machine; models are to be made inside it."""
    previous = eb._native.use_table(request.param)
    yield request.param
    eb._native.use_table(previous)


@pytest.fixture(autouse=True)
def same_process_state() -> Iterator[None]:
    """Threads, slab size and guards are put back after every test."""
    if not TABLES:
        yield
        return
    threads = eb._native.set_threads(1)
    eb._native.set_threads(threads)
    yield
    eb._native.set_threads(threads)
    eb._native.set_share_all(False)
    eb._native.set_slab_rows(0)
    eb._native.check_guards(False)


@pytest.fixture(scope="session")
def digits() -> dict[str, np.ndarray]:
    """The packaged MNIST subset: x, y (train) and xt, yt (test)."""
    x, y = eb.datasets.load("mnist-subset", split="train")
    xt, yt = eb.datasets.load("mnist-subset", split="test")
    return {"x": x, "y": y, "xt": xt, "yt": yt}


@pytest.fixture(scope="session")
def full_digits() -> dict[str, np.ndarray]:
    """The full MNIST from EPSBALL_DATA, for tests marked `full_mnist`."""
    x, y = eb.datasets.load("mnist", split="train")
    xt, yt = eb.datasets.load("mnist", split="test")
    return {"x": x, "y": y, "xt": xt, "yt": yt}


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that the user of the test may not write to, who is not root."""
    if not hasattr(os, "seteuid"):
        pytest.skip("no users")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o555)
    np.random.default_rng()  # NumPy imports it at the first use, which another user may not
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.rmdir()


@pytest.fixture
def full_disk() -> Iterator[Callable[[bool], None]]:
    """Fills the disk, or frees it again: a limit on the size of files, so that the write itself fails half-way."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda full: resource.setrlimit(resource.RLIMIT_FSIZE, (512 if full else limits[0], limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
