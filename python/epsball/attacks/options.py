"""The options that attacks share: what is allowed, and how the engine takes it; every error names the argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arguments import FLOAT32, check_seed, flag, number, one_of, pair, whole
from epsball.arrays import Array, option_as_numpy

LOSSES = ("cross_entropy", "margin", "squared_error", "confidence", "hinge", "crammer_singer", "logit", "dlr", "jitter")


def _own(name: str, value: Any, kinds: str, wanted: str) -> Array:
    """Return a read-only copy, which no later write to the caller's array changes."""
    own = np.array(option_as_numpy(name, value, wanted))
    if own.dtype.kind not in kinds:
        raise TypeError(f"{name}: wanted {wanted}, got {own.dtype}")
    own.flags.writeable = False
    return own


def check_eps(value: Any, name: str = "eps") -> Any:
    """Return one finite non-negative number, or an array of one per row."""
    if isinstance(value, Real):
        return number(name, value, 0.0, float(FLOAT32.max))
    own = _own(name, value, "iuf", "a number or one per row")
    if not ((own >= 0) & (own <= float(FLOAT32.max))).all():
        raise ValueError(f"{name}: wanted numbers from 0 to {FLOAT32.max:g}, got {own}")
    return own


def check_step_size(value: Any, name: str = "step_size") -> Any:
    """Return None, or what eps may be."""
    return None if value is None else check_eps(value, name)


def _bounds(name: str, value: Any) -> Any:
    return None if value is None else tuple(_bound(name, side) for side in pair(name, value))


def _bound(name: str, side: Any) -> Any:
    return (
        number(name, side, -np.inf, np.inf) if isinstance(side, Real) else _own(name, side, "biuf", "numbers or arrays")
    )


OPTIONS: dict[str, Callable[[str, Any], Any]] = {
    "eps": lambda name, value: check_eps(value, name),
    "alpha": lambda name, value: check_step_size(value, name),
    "step_size": lambda name, value: check_step_size(value, name),
    "steps": lambda name, value: whole(name, value, 0),
    "restarts": lambda name, value: whole(name, value, 1),
    "targets": lambda name, value: whole(name, value, 0),
    "queries": lambda name, value: whole(name, value, 1),
    "samples": lambda name, value: whole(name, value, 1),
    "init_evals": lambda name, value: whole(name, value, 1),
    "delta": lambda name, value: number(name, value, 1e-9, float(FLOAT32.max)),
    "sigma": lambda name, value: number(name, value, 1e-9, float(FLOAT32.max)),
    "model_draws": lambda name, value: whole(name, value, 1),
    "draws": lambda name, value: whole(name, value, 1),
    "decay": lambda name, value: number(name, value, 0.0, 1e6),
    "random_start": flag,
    "targeted": flag,
    "early_stop": flag,
    "loss": lambda name, value: one_of(name, value, LOSSES),
    "bounds": _bounds,
    "mask": lambda name, value: None if value is None else _own(name, value, "biuf", "an array of 0 and 1"),
    "seed": lambda name, value: check_seed(value, name),
}


def box_of(bounds: Any, shape: tuple[int, ...]) -> _native.Box:
    """Return the box as the engine takes it; one of numbers is made once."""
    lower, upper = (None, None) if bounds is None else normal_bounds(bounds, shape)
    make = _native.Box if isinstance(lower, np.ndarray) or isinstance(upper, np.ndarray) else _plain_box
    return make(lower, upper, math.prod(shape))


@lru_cache(maxsize=16)
def _plain_box(lower: float | None, upper: float | None, features: int) -> _native.Box:
    return _native.Box(lower, upper, features)


def normal_bounds(bounds: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return (lower, upper), each a float or a float64 array of one input, flattened."""
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ValueError(f"bounds: wanted a pair (lower, upper) or None, got {bounds!r}")
    return _side(bounds[0], shape), _side(bounds[1], shape)


def _side(value: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return float(value)
    try:
        a = np.asarray(option_as_numpy("bounds", value), dtype=np.float64)
        return np.ascontiguousarray(np.broadcast_to(a, shape)).ravel()
    except (TypeError, ValueError):
        raise ValueError(f"bounds: wanted numbers or arrays that broadcast to one input of shape {shape}, "
                         f"got {value!r}") from None  # fmt: skip


def mask_of(mask: Any, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return the mask as the engine takes it: one of one input, or one of every row, flattened."""
    a = option_as_numpy("mask", mask)
    if not ((a == 0) | (a == 1)).all():
        raise ValueError("mask: wanted 0 (fixed) and 1 (may change) only")
    try:
        one = a.ndim < len(shape) or a.shape[0] == 1
        target = shape[1:] if one else shape
        flat = np.broadcast_to(a.reshape(a.shape[1:]) if one and a.ndim == len(shape) else a, target)
    except ValueError:
        raise ValueError(f"mask: wanted a shape that broadcasts to x {shape}, got {a.shape}") from None
    return np.ascontiguousarray(flat, dtype=np.uint8).reshape(-1)


def check_index(index: Any, rows: int) -> Array:
    """Return one integer in [0, 2**63) per row."""
    a = option_as_numpy("index", index)
    if a.dtype.kind not in "iu" or a.shape != (rows,):
        raise TypeError(f"index: wanted {rows} integers, one per row, got {a.dtype} of shape {a.shape}")
    if a.size and not 0 <= a.min() <= a.max() < 2**63:
        raise ValueError(f"index: wanted integers >= 0 and < 2**63, got {a.min()} to {a.max()}")
    return a
