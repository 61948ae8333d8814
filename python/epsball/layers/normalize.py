"""Input normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball.arguments import FLOAT32, number, settle
from epsball.layers.base import Description, Layer, Shape


@dataclass(frozen=True)
class Normalize(Layer):
    """(x − mean) / std per channel; as a model's first layer it keeps bounds and eps in the units of the input.

    Parameters
    ----------
    mean, std
        A number for all, or one per channel (the first axis of an input); fixed, not trained.
    """

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]

    def __post_init__(self) -> None:
        most = float(FLOAT32.max)
        settle(
            self,
            mean=_numbers("mean", self.mean, -most, most),
            std=_numbers("std", self.std, float(FLOAT32.tiny), most),
        )

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        channels = shape[0]
        mean, std = (v if len(v) > 1 else v * channels for v in (_tuple(self.mean), _tuple(self.std)))
        if not len(mean) == len(std) == channels:
            raise ValueError(f"has {len(mean)} means and {len(std)} standard deviations, but gets shape {shape}")
        return ("normalize", mean, std, int(np.prod(shape[1:])))


def _tuple(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _numbers(name: str, value: Any, least: float, most: float) -> float | tuple[float, ...]:
    if isinstance(value, tuple | list | np.ndarray):
        if len(value) == 0:
            raise ValueError(f"{name}: wanted a number or one per channel, got none")
        return tuple(number(name, v, least, most) for v in value)
    return number(name, value, least, most)
