"""Where models compute: the CPU, or a CUDA device, whose table a module of its own brings when it is wanted."""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

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


def copy_to_host(name: str, value: Any) -> npt.NDArray[Any]:
    """Return a copy of an array on the CUDA device, once all that its owner's stream has to do with it is done.

    Raises
    ------
    ValueError
        The array has gaps, is misaligned or lies on another device than the first.
    """
    if hasattr(value, "detach"):  # a torch tensor, whose interface names no stream
        value = value.detach()
        sys.modules["torch"].cuda.current_stream(value.device).synchronize()
    index = value.__dlpack_device__()[1] if hasattr(value, "__dlpack_device__") else 0
    if index != 0:
        raise ValueError(f"{name}: wanted an array on CUDA device 0, got one on device {index}")
    interface = value.__cuda_array_interface__
    dtype, shape, pointer = np.dtype(interface["typestr"]), tuple(interface["shape"]), interface["data"][0]
    copy = np.empty(shape, dtype)
    if copy.size == 0:
        return copy
    if interface.get("mask") is not None:
        raise ValueError(f"{name}: wanted a value in every place, got a masked array on the CUDA device")
    strides = interface.get("strides")
    if strides is not None and tuple(strides) != copy.strides:
        raise ValueError(f"{name}: wanted a C-contiguous array on the CUDA device, got strides {tuple(strides)}")
    if pointer % dtype.itemsize:
        raise ValueError(f"{name}: wanted an aligned array on the CUDA device, got one at address {pointer:#x}")
    stream = interface.get("stream")
    _cuda_module().copy_to_host(pointer, copy, 0 if stream is None else stream)
    return copy


def cuda_problem() -> str:
    """Return why no CUDA device can be used here, or an empty string if one can."""
    try:
        return str(_cuda_module().problem())
    except ImportError as error:
        return f"this epsball was built without it, which takes EPSBALL_CUDA=ON and nvcc ({error})"


def _cuda_module() -> ModuleType:
    return importlib.import_module(os.environ.get("EPSBALL_CUDA_MODULE") or "epsball._cuda")  # the emulator's, in tests
