"""Checks of arguments that layers, models, attacks and training share; every error names the argument."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arrays import as_numpy

FLOAT32 = np.finfo(np.float32)
BELOW_ONE = float(np.nextafter(1.0, 0.0))


def whole(name: str, value: Any, least: int, most: int = 2**31 - 1) -> int:
    """Return `value` as a Python integer in [least, most]."""
    try:
        n = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: wanted an integer, got {value!r}") from None
    if isinstance(value, bool):
        raise TypeError(f"{name}: wanted an integer, got {value!r}")
    if not least <= n <= most:
        raise ValueError(f"{name}: wanted an integer >= {least} and <= {most}, got {n}")
    return n


def number(name: str, value: Any, least: float = 0.0, most: float = sys.float_info.max) -> float:
    """Return `value` as a Python float in [least, most]."""
    if isinstance(value, bool) or not issubclass(type(value), Real):
        raise TypeError(f"{name}: wanted a number, got {value!r}")
    try:
        real = float(value)  # before the comparison, which NumPy would make in the value's own precision
    except OverflowError:
        real = math.inf if value > 0 else -math.inf
    if not least <= real <= most:
        raise ValueError(f"{name}: wanted a number from {_text(least)} to {_text(most)}, got {_text(real)}")
    return real


def _text(value: float) -> str:
    """Return a number in few digits; those next to 1 do not read as 1."""
    short = f"{value:g}"
    return repr(value) if short == "1" and value != 1 else short


def radii(name: str, values: Any) -> list[float]:
    """Return the radii of several runs, at least one, as Python floats."""
    try:
        given = list(values)
    except TypeError:
        raise TypeError(f"{name}: wanted radii, one number for each run, got {values!r}") from None
    if not given:
        raise ValueError(f"{name}: wanted at least one radius, got none")
    return [number(name, value, 0.0, float(FLOAT32.max)) for value in given]


def flag(name: str, value: Any) -> bool:
    """Return `value` as a Python bool; 1 and "yes" are none."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: wanted True or False, got {value!r}")
    return bool(value)


def one_of(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value` if it is among the names in `choices`."""
    known = list(choices)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}: wanted one of {', '.join(known)}, got {value!r}")
    return value


def pair(name: str, value: Any) -> tuple[Any, Any]:
    """Return the two elements of `value`."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{name}: wanted a pair, got {value!r}")
    return value[0], value[1]


def check_shape(name: str, value: Any) -> tuple[int, ...]:
    """Return `value` as the shape of one input."""
    try:
        sizes = tuple(whole(name, n, 1) for n in value)
    except (TypeError, ValueError):
        sizes = ()
    if not sizes:
        raise ValueError(f"{name}: wanted a tuple of positive integers, got {value!r}")
    return sizes


def check_axes(given: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Refuse images whose axes stand in another order than the model's; those of size 1 may stand anywhere."""
    if given == wanted or sorted(given) != sorted(wanted):
        return
    if [n for n in given if n > 1] != [n for n in wanted if n > 1]:
        raise ValueError(f"x: wanted images of shape {wanted}, channels first, got {given}, the same axes in another "
                         f"order; x.transpose may bring them into the model's")  # fmt: skip


def check_path(name: str, value: Any) -> Path:
    """Return `value` as a path."""
    try:
        return Path(value)
    except TypeError:
        raise TypeError(f"{name}: wanted a path, got {value!r}") from None


def check_seed(value: Any, name: str = "seed") -> int:
    """Return `value` as a Python integer in [0, 2**64), which the engine's counters take."""
    return whole(name, value, 0, 2**64 - 1)


def count_rows(x: Any) -> int:
    """Return how many rows x (N, ...) has; none is an error."""
    shape = as_numpy("x", x).shape
    if not shape or shape[0] == 0:
        raise ValueError(f"x: wanted at least one row, got shape {shape}")
    return int(shape[0])


def class_indices(name: str, labels: Any, rows: int, classes: int | None = None) -> npt.NDArray[np.int64]:
    """Return `labels` as class indices (rows,) from 0, and below `classes` where that is known."""
    a = as_numpy(name, labels)
    if a.dtype.kind not in "biu":
        raise TypeError(f"{name}: wanted {rows} class indices, got {a.dtype} of shape {a.shape}")
    if a.shape != (rows,):
        raise ValueError(f"{name}: wanted {rows} class indices, one per row of x, got shape {a.shape}")
    most = 2**63 - 1 if classes is None else classes - 1
    if rows and not 0 <= a.min() <= a.max() <= most:
        raise ValueError(f"{name}: wanted class indices from 0 to {most}, got {a.min()} to {a.max()}")
    return a.astype(np.int64)


def require_targets(attack: Any, y: Any) -> None:
    """Raise where a targeted attack is not told the targets: nothing can stand in for them."""
    if y is None and getattr(attack, "targeted", False):
        raise ValueError("y: a targeted attack needs the target labels, got None")


def require_untargeted(attack: Any) -> None:
    """Raise where an attack would take the true classes for its targets."""
    if getattr(attack, "targeted", False):
        raise ValueError(f"attack: wanted an untargeted attack (y holds the true classes), got {attack!r}")


def settle(owner: object, **values: Any) -> None:
    """Put checked values into the fields of a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(owner, name, value)
