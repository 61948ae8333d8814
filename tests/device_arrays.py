"""Arrays in the emulated device's memory: one that tells of itself as CuPy's do, and one that only DLPack knows."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np


class DeviceArray:
    """Owns device memory; the host may not read it but through `numpy()`."""

    made = 0  # by `empty`, the allocator of this library
    given_out = 0  # bytes of those that live
    room = math.inf  # that `empty` has

    _given_out = 0

    def __init__(self, values: Any, **interface: Any) -> None:
        import _cuda_emulated

        self._module = _cuda_emulated
        values = np.ascontiguousarray(values)
        self._own(_cuda_emulated.array(values), values.shape, values.dtype, interface)

    def _own(self, address: int, shape: tuple[int, ...], dtype: np.dtype, interface: dict[str, Any]) -> None:
        self._address = address
        self._interface = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (self._address, False),
            "version": 3,
            "strides": None,
            "stream": 1,
        } | interface

    def __del__(self) -> None:
        if hasattr(self, "_address"):
            self._module.release(self._address)
        DeviceArray.given_out -= self._given_out

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self._interface

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("read by the host unseen")

    def __array_namespace__(self) -> type[DeviceArray]:
        return DeviceArray

    @staticmethod
    def asarray(values: Any) -> DeviceArray:
        return DeviceArray(values)

    @staticmethod
    def empty(shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        import _cuda_emulated

        size = math.prod(shape) * np.dtype(dtype).itemsize
        address = _cuda_emulated.empty(size) if DeviceArray.given_out + size <= DeviceArray.room else 0
        if address == 0:
            raise MemoryError("the library's own words")
        array = DeviceArray.__new__(DeviceArray)
        array._module = _cuda_emulated
        array._own(address, shape, np.dtype(dtype), {})
        array._given_out = size
        DeviceArray.made += 1
        DeviceArray.given_out += size
        return array

    def numpy(self) -> np.ndarray:
        values = np.empty(self._interface["shape"], self._interface["typestr"])
        self._module.copy_to_host(self._address, values, 0)
        return values


class _Tensor(ctypes.Structure):
    """DLManagedTensor of DLPack, the fields of its DLTensor first."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64), ("manager", ctypes.c_void_p), ("deleter", ctypes.c_void_p),
    )  # fmt: skip


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


class DLPackArray:
    """An array on the device without the CUDA array interface; `offset` bytes in front of it are DLPack's."""

    asked: list[int | None] = []  # noqa: RUF012 - the streams that were named

    def __init__(self, values: Any, strides: tuple[int, ...] | None = None, offset: int = 0, bits: int = 0) -> None:
        values = np.ascontiguousarray(values)
        here = DeviceArray(np.concatenate([np.zeros(offset, np.uint8), values.reshape(-1).view(np.uint8)]))
        self._describe(here, values.shape, values.dtype, strides, offset, bits)

    def _describe(
        self, here: DeviceArray, shape: tuple[int, ...], dtype: np.dtype, strides: tuple[int, ...] | None = None,
        offset: int = 0, bits: int = 0,
    ) -> None:  # fmt: skip
        self._here = here
        axes = (ctypes.c_int64 * len(shape))(*shape)
        steps = (ctypes.c_int64 * len(shape))(*strides) if strides else None
        code = {"i": 0, "u": 1, "f": 2, "b": 6}[dtype.kind]
        self._tensor = _Tensor(
            here._address, 2, 0, len(shape), code, bits or 8 * dtype.itemsize, 1, axes, steps, offset
        )
        self._shape, self._dtype, self._offset = shape, dtype, offset

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        DLPackArray.asked.append(stream)
        return _new_capsule(ctypes.addressof(self._tensor), b"dltensor", None)

    def __array_namespace__(self) -> type[DLPackArray]:
        return DLPackArray

    @staticmethod
    def asarray(values: Any) -> DLPackArray:
        return DLPackArray(values)

    @staticmethod
    def empty(shape: tuple[int, ...], dtype: Any) -> DLPackArray:
        array = DLPackArray.__new__(DLPackArray)
        array._describe(DeviceArray.empty(shape, dtype), shape, np.dtype(dtype))
        return array

    def numpy(self) -> np.ndarray:
        return self._here.numpy()[self._offset :].view(self._dtype).reshape(self._shape)
