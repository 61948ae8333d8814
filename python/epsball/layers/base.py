"""What a layer is to a model: a frozen description that fits itself to the layer below."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from epsball.arguments import whole

Shape: TypeAlias = tuple[int, ...]  # of one input, channels first for images
Description: TypeAlias = tuple[Any, ...]  # what python/bindings/bind_model.cpp makes a native layer of
Values: TypeAlias = npt.NDArray[np.float32]
Draw: TypeAlias = Callable[[float], Values]  # uniform values in ± a bound, of one parameter's shape
LAYERS: dict[str, type[Layer]] = {}  # by class name, as files have them


@dataclass(frozen=True)
class Layer(ABC):
    """Base of all layers."""

    log_confidences: ClassVar[bool] = False  # whether exp(output) is a confidence of each class by itself

    def __init_subclass__(cls) -> None:
        LAYERS[cls.__name__] = cls

    @abstractmethod
    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`.

        Raises
        ------
        ValueError
            The layer does not take such inputs; the message goes on after "it".
        """

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one output for inputs of `shape`."""
        return shape

    def initial(self, name: str, draw: Draw) -> Values:
        """Return the first values of the parameter `name`."""
        # Only layers with parameters are asked, and say how theirs start; a new one that forgets to is told here.
        raise NotImplementedError(f"{type(self).__name__} has no parameter {name!r}")


def features_of(shape: Shape) -> int:
    """Return how many numbers one input has."""
    return math.prod(shape)


def check_count(shape: Shape) -> None:
    """Raise where one input or output has more numbers than the engine counts to; the message goes on after "it"."""
    if features_of(shape) >= 2**31:
        raise ValueError(f"comes to {features_of(shape):,} numbers a row, and the engine counts to 2**31 - 1")


def image_of(shape: Shape) -> tuple[int, int, int]:
    """Return `shape` as (channels, height, width)."""
    if len(shape) != 3:
        raise ValueError(f"takes images (channels, height, width), but gets shape {shape}")
    return shape[0], shape[1], shape[2]


def two(name: str, value: Any, least: int) -> tuple[int, int]:
    """Return an integer, or a pair of them, as a pair (down, across)."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError(f"{name}: wanted an integer or two of them (down, across), got {value!r}")
        return whole(name, value[0], least), whole(name, value[1], least)
    n = whole(name, value, least)
    return n, n


def windows(shape: Shape, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Shape:
    """Return (height, width) of the outputs of a window that slides over images of `shape`."""
    _, *sizes = image_of(shape)
    for size, k, p in zip(sizes, kernel, padding, strict=True):
        if k > size + 2 * p:
            raise ValueError(f"has a kernel of {kernel}, larger than the padded image of shape {shape}")
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(sizes, kernel, stride, padding, strict=True))
