"""Where models compute: the CPU, or a CUDA device, whose table a module of its own brings when it is first asked for."""

from __future__ import annotations

import importlib
import os
from functools import cache

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
    name = os.environ.get("EPSBALL_CUDA_MODULE") or "epsball._cuda"  # the tests name the emulator's
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        hint = "this epsball was built without CUDA (EPSBALL_CUDA=ON needs nvcc)"
        raise RuntimeError(f"device: 'cuda' cannot be used: {hint}: {error}") from None
    problem = module.problem()
    if problem:
        raise RuntimeError(f"device: 'cuda' cannot be used: {problem}")
    return _native.add_table(module.table())
