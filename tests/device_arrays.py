"""An array in the emulated device's memory, which tells of itself as CuPy's do: a stand-in for them without a GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class DeviceArray:
    """Owns device memory; the host may not read it but through `numpy()`."""

    made = 0  # by `empty`, the allocator of this library

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
        self._module.release(self._address)

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

        DeviceArray.made += 1
        array = DeviceArray.__new__(DeviceArray)
        array._module = _cuda_emulated
        array._own(_cuda_emulated.empty(math.prod(shape) * np.dtype(dtype).itemsize), shape, np.dtype(dtype), {})
        return array

    def numpy(self) -> np.ndarray:
        values = np.empty(self._interface["shape"], self._interface["typestr"])
        self._module.copy_to_host(self._address, values, 0)
        return values
