"""Flattening."""

from __future__ import annotations

from dataclasses import dataclass

from epsball.layers.base import Description, Layer, Shape, features_of


@dataclass(frozen=True)
class Flatten(Layer):
    """(C, H, W) to C·H·W, channels first; costs nothing."""

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        return ("flatten", features_of(shape))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one output."""
        return (features_of(shape),)
