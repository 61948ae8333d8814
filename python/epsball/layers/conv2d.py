"""Convolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from epsball.arguments import flag, settle, whole
from epsball.layers.base import Description, Draw, Layer, Shape, Values, image_of, two, windows


@dataclass(frozen=True)
class Conv2d(Layer):
    """Convolution of images (C, H, W) as torch has it: cross-correlation, zero padding, one group.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    kernel_size, stride, padding
        An integer, or a pair (down, across).
    bias
        Whether each output channel has one.
    """

    in_channels: int
    out_channels: int
    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0
    bias: bool = True

    def __post_init__(self) -> None:
        settle(
            self,
            in_channels=whole("in_channels", self.in_channels, 1),
            out_channels=whole("out_channels", self.out_channels, 1),
            kernel_size=two("kernel_size", self.kernel_size, 1),
            stride=two("stride", self.stride, 1),
            padding=two("padding", self.padding, 0),
            bias=flag("bias", self.bias),
        )

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        if image_of(shape)[0] != self.in_channels:
            raise ValueError(f"takes images of {self.in_channels} channels, but gets shape {shape}")
        self.output_shape(shape)
        window = (self.kernel_size, self.stride, self.padding)
        return ("conv2d", shape, self.out_channels, *window, self.bias)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one output."""
        size = windows(shape, *(two("", n, 0) for n in (self.kernel_size, self.stride, self.padding)))
        return (self.out_channels, *size)

    def initial(self, name: str, draw: Draw) -> Values:
        """Return weights and biases uniform in ±1/√(inputs of an output)."""
        return draw(1 / math.sqrt(self.in_channels * math.prod(two("", self.kernel_size, 1))))
