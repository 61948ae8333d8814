"""Where models compute: the CPU, or a CUDA device, whose table a module of its own brings when it is first asked for."""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType

from epsball import _native


def table_of(device: str) -> str | None:
    """Return the name of the device's table; None for the CPU, whose table is chosen at every call.

    Raises
    ------
    ValueError
        An unknown device.
    RuntimeError
        No CUDA device can be used here; the message says why.
    """
    if device == "cpu":
        return None
    if device != "cuda":
        raise ValueError(f"device: wanted 'cpu' or 'cuda', got {device!r}")
    return _cuda_table()


@cache
def _cuda_table() -> str:
    problem = cuda_problem()
    if problem:
        raise RuntimeError(f"device: 'cuda' cannot be used: {problem}")
    return _native.add_table(_cuda_module().table())


def cuda_problem() -> str:
    """Return why no CUDA device can be used here, or an empty string if one can."""
    try:
        return str(_cuda_module().problem())
    except ImportError as error:
        return f"this epsball was built without it, which takes EPSBALL_CUDA=ON and nvcc ({error})"


def _cuda_module() -> ModuleType:
    return importlib.import_module(os.environ.get("EPSBALL_CUDA_MODULE") or "epsball._cuda")  # the emulator's, in tests
