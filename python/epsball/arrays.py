"""The caller's arrays: NumPy arrays, torch tensors or other arrays in, the same kind out, where they came from."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from epsball import _native

Array: TypeAlias = npt.NDArray[Any]


def is_tensor(value: object) -> bool:
    """Whether `value` is a torch tensor; torch is not imported for the question."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def as_numpy(name: str, value: Any, wanted: str = "a NumPy array or a torch CPU tensor", device: str = "cpu") -> Array:
    """Return `value` as a NumPy array that shares its memory where it can; the error names the argument and `wanted`.

    With the `device` "cuda", where a model computes that has called for this array, arrays on a CUDA device are copied.

    Raises
    ------
    TypeError
        `value` is no array in CPU memory (or on `device`): neither NumPy's nor torch's, nor one with ``__array__``,
        ``__dlpack__`` or the buffer protocol (nor, outside in-place operations, a list).
    ValueError
        A list that is no array; a masked array whose masked values would be taken for data.
    """
    if type(value) is np.ndarray:
        return value
    if device == "cuda" and is_on_cuda(value):
        from epsball.device import copy_to_host, device_array

        return copy_to_host(value if isinstance(value, _native.DeviceArray) else device_array(name, value))
    if is_tensor(value):
        return _of_tensor(name, value)
    if value is None:
        raise TypeError(f"{name}: wanted {wanted}, got None")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name}: wanted a value in every place, got a masked array; fill it first, as with .filled()")
    if isinstance(value, np.ndarray | np.generic | list | tuple | int | float):
        try:
            return np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name}: wanted an array, got {type(value).__name__} ({error})") from None
    _require_cpu(name, value)
    if hasattr(value, "__array__") or _has_buffer(value):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        try:
            return np.asarray(np.from_dlpack(value))
        except (BufferError, RuntimeError, TypeError) as error:
            raise TypeError(f"{name}: {type(value).__name__} cannot be read through DLPack ({error})") from None
    raise TypeError(f"{name}: wanted {wanted}, got {type(value).__name__}")


def option_as_numpy(name: str, value: Any, wanted: str = "a NumPy array or a torch CPU tensor") -> Array:
    """Return what an option holds as `as_numpy` does; a copy of an array on a CUDA device that can be used."""
    if type(value) is np.ndarray or not is_on_cuda(value):
        return as_numpy(name, value, wanted)
    from epsball.device import cuda_problem

    return as_numpy(name, value, wanted, "cpu" if cuda_problem() else "cuda")


def for_engine(name: str, value: Any, device: str) -> Any:
    """Return `value` as `as_numpy` does, or what the engine needs to know of it where it stays on the CUDA device.

    That is where a model on the same device has called for it, and its library can allocate the result.
    """
    if type(value) is np.ndarray or device != "cuda" or not is_on_cuda(value):
        return as_numpy(name, value, device=device)
    if isinstance(value, _native.DeviceArray):
        return value
    from epsball.device import allocates, device_array

    array = device_array(name, value)
    return array if allocates(value) and 0 not in array.shape else as_numpy(name, value, device=device)


def room(array: Any, shape: tuple[int, ...], dtype: npt.DTypeLike) -> _native.DeviceArray | None:
    """Return memory for a result where `array` lies on the device; None for NumPy's, which the engine allocates."""
    if not isinstance(array, _native.DeviceArray):
        return None
    from epsball.device import room_like

    return room_like(array, shape, dtype)


def like(value: Any, example: Any) -> Any:
    """Return `value` as the caller's kind of array: a tensor where `example` is one, a JAX array where it is one.

    Kinds that have no way back from NumPy, such as data frames and buffers, come back as NumPy arrays.
    """
    if isinstance(value, _native.DeviceArray):
        return value.owner
    if isinstance(example, np.ndarray):
        return value
    if is_tensor(example):
        return sys.modules["torch"].from_numpy(value).to(example.device)
    if type(example).__module__.partition(".")[0] == "cupy":
        return sys.modules["cupy"].asarray(value)
    if isinstance(example, memoryview):
        return value.data
    if hasattr(example, "__array_namespace__") and not isinstance(example, np.generic):
        return _in_namespace(value, example)
    return value


def moved_by(x: Array, by: Array, lo: Any, hi: Any) -> Array:
    """Return x + by within [lo, hi] in x's dtype, rounded towards x, so that no value moves further than `by` says."""
    start = x.astype(np.float64)
    moved: Array = np.clip(start + by, lo, hi).astype(x.dtype)
    for _ in range(2):
        now = moved.astype(np.float64)
        too_far = (np.abs(now - start) > np.abs(by)) | (now < lo) | (now > hi)
        moved = np.where(too_far, np.nextafter(moved, x), moved)
    return moved


def is_on_cuda(value: Any) -> bool:
    """Whether `value` is an array in the memory of a CUDA device."""
    if is_tensor(value):
        return bool(value.device.type == "cuda")
    if isinstance(value, _native.DeviceArray) or hasattr(value, "__cuda_array_interface__"):
        return True
    return hasattr(value, "__dlpack_device__") and _dlpack_device(value) in _CUDA_DEVICES


_CPU_DEVICES = (1, 3)  # DLPack's kDLCPU, and host memory that CUDA has pinned
_CUDA_DEVICES = (2, 13)  # kDLCUDA, and managed memory


def _dlpack_device(value: Any) -> int | None:
    try:
        return int(value.__dlpack_device__()[0])
    except Exception:  # whatever a library raises for memory that DLPack cannot describe
        return None


def _of_tensor(name: str, tensor: Any) -> Array:
    if tensor.device.type != "cpu":
        raise TypeError(f"{name}: wanted a CPU tensor, got one on {tensor.device}")
    try:
        return np.asarray(tensor.detach().resolve_conj().resolve_neg().numpy())
    except (RuntimeError, TypeError):  # sparse, quantised, or of a dtype that NumPy lacks
        kind = f"{tensor.dtype} ({tensor.layout})"
        raise TypeError(f"{name}: wanted a dense tensor of a dtype that NumPy has, got {kind}") from None


def _require_cpu(name: str, value: Any) -> None:
    """Refuse what lies on a device: a copy to the host and back would go unseen."""
    kind = type(value).__name__
    if hasattr(value, "__cuda_array_interface__"):
        raise TypeError(
            f"{name}: wanted an array in CPU memory, got {kind} on a CUDA device, where no model.to('cuda') asks for it"
        )
    if not hasattr(value, "__dlpack_device__"):
        return
    try:
        device = int(value.__dlpack_device__()[0])
    except Exception as error:  # whatever a library raises for memory that DLPack cannot describe
        raise TypeError(f"{name}: wanted an array in CPU memory, got {kind} ({error})") from None
    if device not in _CPU_DEVICES:
        raise TypeError(f"{name}: wanted an array in CPU memory, got {kind} on DLPack device type {device}")


def _has_buffer(value: Any) -> bool:
    try:
        memoryview(value).release()
    except TypeError:
        return False
    return True


def _in_namespace(value: Array, example: Any) -> Any:
    """Return `value` as an array of the example's library, on its device where the library takes one."""
    namespace = example.__array_namespace__()
    try:
        return namespace.asarray(value, device=example.device)
    except (AttributeError, TypeError):
        return namespace.asarray(value)
