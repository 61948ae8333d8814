"""Where models compute: the CPU, or a CUDA device, whose table a module of its own brings when it is wanted."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from epsball import _native

PRECISIONS = ("float32", "tf32", "bf16")

Empty: TypeAlias = Callable[[tuple[int, ...], np.dtype[Any]], Any]  # a library's own, for its memory of the device


def table_of(device: str, precision: str) -> str | None:
    """Return the name of the device's table; None for the CPU, whose table is chosen at every call.

    Raises
    ------
    ValueError
        An unknown device or precision; a precision that the device does not have.
    RuntimeError
        No CUDA device can be used here; the message says why.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: wanted 'float32', 'tf32' or 'bf16', got {precision!r}")
    if device == "cpu":
        if precision != "float32":
            raise ValueError(f"precision: wanted 'float32', in which the CPU computes, got {precision!r}")
        return None
    if device != "cuda":
        raise ValueError(f"device: wanted 'cpu' or 'cuda', got {device!r}")
    return _cuda_table(precision)


@cache
def _cuda_table(precision: str = "float32") -> str:
    problem = cuda_problem()
    if problem:
        raise RuntimeError(f"device: 'cuda' cannot be used: {problem}")
    return _native.add_table(_cuda_module().table(precision))


def device_array(name: str, value: Any) -> _native.DeviceArray:
    """Return what the engine needs to know of an array on the CUDA device; its memory stays its owner's.

    Raises
    ------
    ValueError
        The array has gaps, is misaligned or masked, lies on another device than the first, or names no memory of one.
    """
    if hasattr(value, "detach"):  # a torch tensor
        value = value.detach()
    if not hasattr(value, "__cuda_array_interface__"):
        return _by_dlpack(name, value)
    interface = value.__cuda_array_interface__
    dtype, shape, pointer = np.dtype(interface["typestr"]), tuple(interface["shape"]), interface["data"][0] or 0
    if interface.get("mask") is not None:
        raise ValueError(f"{name}: wanted a value in every place, got a masked array on the CUDA device")
    strides = interface.get("strides")
    if strides is not None and not _is_contiguous(shape, strides, dtype.itemsize):
        raise ValueError(f"{name}: wanted a C-contiguous array on the CUDA device, got strides {tuple(strides)}")
    _check_aligned(name, pointer, dtype)
    _check_device(name, value, pointer if 0 not in shape else 0)
    stream, read_only = _stream_of(value, interface), interface["data"][1]
    return _native.DeviceArray(value, _cuda_table(), pointer, dtype, shape, stream, not read_only, _lender_of(value))


def _by_dlpack(name: str, value: Any) -> _native.DeviceArray:
    """Return the same of an array that only DLPack describes, by the default stream."""
    try:
        capsule = value.__dlpack__(stream=1)
        pointer, kind, shape, strides = _native.read_dlpack(capsule)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{name}: {type(value).__name__} cannot be read through DLPack ({error})") from None
    if not kind:
        raise TypeError(f"{name}: wanted a dtype that NumPy has, got another on the CUDA device")
    dtype = np.dtype(kind)
    if strides is not None and not _is_contiguous(shape, strides, 1):
        raise ValueError(f"{name}: wanted a C-contiguous array on the CUDA device, got strides {strides} in elements")
    _check_aligned(name, pointer, dtype)
    _check_device(name, value, pointer if 0 not in shape else 0)
    return _native.DeviceArray(value, _cuda_table(), pointer, dtype, shape, 0, True, _lender_of(value), capsule)


def copy_to_host(array: _native.DeviceArray) -> npt.NDArray[Any]:
    """Return a copy of an array on the CUDA device, once all that its owner's stream has to do with it is done."""
    copy = np.empty(array.shape, array.dtype)
    if copy.size:
        _cuda_module().copy_to_host(array.address, copy, array.stream)
    return copy


def room_like(array: _native.DeviceArray, shape: tuple[int, ...], dtype: npt.DTypeLike) -> _native.DeviceArray:
    """Return a new array on the device, from the allocator of the library that owns `array`.

    Raises
    ------
    MemoryError
        The library has no more memory.
    """
    empty = _empty_of(array.owner)
    room = empty and _lend(empty, shape, np.dtype(dtype))
    if room is None:
        raise MemoryError("device: its memory is full")
    return room


def allocates(value: Any) -> bool:
    """Whether the library of an array on the CUDA device gives out memory that the engine may write to."""
    return _empty_of(value) is not None


def _lender_of(value: Any) -> Callable[[int], _native.DeviceArray | None] | None:
    """Return what gives the engine memory for the work of a call, from the array's library, not the array."""
    empty = _empty_of(value)
    return None if empty is None else lambda size: _lend(empty, (size,), np.dtype(np.uint8))


def _lend(empty: Empty, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _native.DeviceArray | None:
    """Return a new array; None where the library has no more memory."""
    try:
        return device_array("out", empty(shape, dtype))
    except Exception as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # CuPy's; torch's
            return None
        raise


def _empty_of(value: Any) -> Empty | None:
    """Return the function by which an array's library makes others on its device, if it can; not the array."""
    kind = type(value).__module__.partition(".")[0]
    if hasattr(value, "detach"):
        return partial(_empty_tensor, value.device)
    if kind == "cupy":
        return partial(_empty_of_cupy, value.device)
    if kind in ("jax", "jaxlib") or not hasattr(value, "__array_namespace__"):  # JAX's arrays never change
        return None
    namespace = value.__array_namespace__()
    return partial(_empty_in, namespace) if hasattr(namespace, "empty") else None


def _empty_tensor(device: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    torch = sys.modules["torch"]
    return torch.empty(shape, dtype=getattr(torch, dtype.name), device=device)


def _empty_of_cupy(device: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    with device:
        return sys.modules["cupy"].empty(shape, dtype)


def _empty_in(namespace: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    return namespace.empty(shape, dtype=getattr(namespace, dtype.name, dtype))


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...], unit: int) -> bool:
    """Whether the strides leave no gaps, `unit` being an element's; an axis of one element may have any stride."""
    wanted = [unit * math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return 0 in shape or all(n == 1 or s == w for n, s, w in zip(shape, strides, wanted, strict=True))


def _check_aligned(name: str, pointer: int, dtype: np.dtype[Any]) -> None:
    if pointer % dtype.itemsize:
        raise ValueError(f"{name}: wanted an aligned array on the CUDA device, got one at address {pointer:#x}")


def _check_device(name: str, value: Any, pointer: int) -> None:
    index = int(value.__dlpack_device__()[1]) if hasattr(value, "__dlpack_device__") else 0
    if index == 0 and pointer != 0:
        index = _cuda_module().device_of(pointer)
    if index < 0:
        raise ValueError(f"{name}: wanted memory of the CUDA device, got address {pointer:#x}, which is none")
    if index != 0:
        raise ValueError(f"{name}: wanted an array on CUDA device 0, got one on device {index}")


def _stream_of(value: Any, interface: dict[str, Any]) -> int:
    """Return the stream by which the values are there: 0 for the default one, else a cudaStream_t."""
    kind = type(value).__module__.partition(".")[0]
    if hasattr(value, "detach"):  # its interface names no stream
        return int(sys.modules["torch"].cuda.current_stream(value.device).cuda_stream)
    if kind == "cupy":
        return int(sys.modules["cupy"].cuda.get_current_stream().ptr)
    stream = interface.get("stream")
    return 0 if stream is None or stream == 1 else int(stream)  # 1: the default stream, by the interface's numbers


def cuda_problem() -> str:
    """Return why no CUDA device can be used here, or an empty string if one can."""
    try:
        return str(_cuda_module().problem())
    except ImportError as error:
        return f"this epsball was built without it, as nvcc was not found or EPSBALL_CUDA is OFF ({error})"


def _cuda_module() -> ModuleType:
    return importlib.import_module(os.environ.get("EPSBALL_CUDA_MODULE") or "epsball._cuda")  # the emulator's, in tests
