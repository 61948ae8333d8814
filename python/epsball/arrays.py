"""The caller's arrays: NumPy arrays or torch CPU tensors in, the same kind out."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


def is_tensor(value: object) -> bool:
    """Whether `value` is a torch tensor; torch is not imported for the question."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def as_numpy(name: str, value: Any) -> Array:
    """Return `value` as a NumPy array that shares its memory; the error names the argument.

    Raises
    ------
    TypeError
        `value` is neither a NumPy array nor a torch CPU tensor (nor, outside in-place operations, a list).
    """
    if type(value) is np.ndarray:
        return value
    if is_tensor(value):
        if value.device.type != "cpu":
            raise TypeError(f"{name}: wanted a CPU tensor, got one on {value.device}")
        return np.asarray(value.detach().numpy())
    if value is None:
        raise TypeError(f"{name}: wanted an array, got None")
    if isinstance(value, np.ndarray | np.generic | list | tuple | int | float):
        try:
            return np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name}: wanted an array, got {type(value).__name__} ({error})") from None
    if hasattr(value, "__array__"):
        return np.asarray(value)
    raise TypeError(f"{name}: wanted a NumPy array or a torch CPU tensor, got {type(value).__name__}")


def like(value: Array, example: Any) -> Any:
    """Return `value` as the caller's kind of array: a tensor where `example` is one."""
    if is_tensor(example):
        return sys.modules["torch"].from_numpy(value)
    return value
