"""Pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from epsball.arguments import settle
from epsball.layers.base import Description, Layer, Shape, image_of, two, windows


@dataclass(frozen=True)
class Pool2d(Layer):
    """Base of the pooling layers."""

    name: ClassVar[str]
    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0

    def __post_init__(self) -> None:
        kernel = two("kernel_size", self.kernel_size, 1)
        stride = kernel if self.stride is None else two("stride", self.stride, 1)
        padding = two("padding", self.padding, 0)
        if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
            raise ValueError(f"padding: wanted at most half of the kernel {kernel}, got {padding}")
        settle(self, kernel_size=kernel, stride=stride, padding=padding)

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        self.output_shape(shape)
        return (self.name, shape, self.kernel_size, self.stride, self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one output."""
        size = windows(shape, *(two("", n, 0) for n in (self.kernel_size, self.stride, self.padding)))
        return (image_of(shape)[0], *size)


@dataclass(frozen=True)
class MaxPool2d(Pool2d):
    """The largest value of each window; its gradient goes to the first that has it.

    Parameters
    ----------
    kernel_size, stride, padding
        An integer, or a pair (down, across); stride None: the kernel's size.
    """

    name = "max_pool2d"


@dataclass(frozen=True)
class AvgPool2d(Pool2d):
    """The mean of each window; padding counts as zeros, as torch's default has it.

    Parameters
    ----------
    kernel_size, stride, padding
        An integer, or a pair (down, across); stride None: the kernel's size.
    """

    name = "avg_pool2d"
