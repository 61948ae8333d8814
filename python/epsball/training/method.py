"""What a training method tells `eb.fit`: the native settings of its loss, and the attack that watches it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from epsball.arguments import number, pair
from epsball.attacks.base import Attack, Bounds


@dataclass(frozen=True)
class Method(ABC):
    """Base of all training methods."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""

    def budget(self, epoch: float, epochs: int) -> float:
        """Return the factor on the attack's eps and steps `epoch` epochs into a run of `epochs`."""
        return 1.0

    def collapsed(self, records: list[dict[str, Any]]) -> bool:
        """Return whether the last epoch of the history lost what the one before had, so that training must stop."""
        return False

    @abstractmethod
    def monitor(self) -> Attack:
        """Return the attack whose errors the history records unless `eb.fit` is given another."""


def box(bounds: Bounds) -> tuple[float, float]:
    """Return training bounds as two numbers; None is the whole line."""
    if bounds is None:
        return -math.inf, math.inf
    lo, hi = (number("bounds", side, -math.inf, math.inf) for side in pair("bounds", bounds))
    if lo > hi:
        raise ValueError(f"bounds: wanted two numbers (lower, upper) or None, got {bounds!r}")
    return lo, hi


def ramp(share: float, epoch: float, epochs: int) -> float:
    """Return a budget that grows linearly from 0 to 1 over the first `share` of a run."""
    return min(epoch / (share * epochs), 1.0) if share > 0 else 1.0
