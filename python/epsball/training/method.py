"""What a training method tells `eb.fit`: the native settings of its loss, and the attack that watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.attacks.base import Attack, Bounds


@dataclass(frozen=True)
class Method:
    """Base of all training methods."""

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        raise NotImplementedError

    def monitor(self) -> Attack:
        """Return the attack whose errors the history records unless `eb.fit` is given another."""
        raise NotImplementedError


def box(bounds: Bounds) -> tuple[float, float]:
    """Return training bounds as two numbers; None is the whole line."""
    if bounds is None:
        return float("-inf"), float("inf")
    lo, hi = bounds
    if not isinstance(lo, int | float) or not isinstance(hi, int | float) or not lo <= hi:
        raise ValueError(f"bounds: wanted two numbers (lower, upper) or None, got {bounds!r}")
    return float(lo), float(hi)


def check_number(name: str, value: object, least: float, most: float) -> float:
    """Return value if it is a number in [least, most]; the error names the argument."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: wanted a number, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name}: wanted a number from {least:g} to {most:g}, got {value}")
    return float(value)
