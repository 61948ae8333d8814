"""Linear layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from epsball.arguments import flag, settle, whole
from epsball.layers.base import Description, Draw, Layer, Shape, Values, features_of


@dataclass(frozen=True)
class Linear(Layer):
    """y = x Wᵀ + b, on inputs of any shape with that many features.

    Parameters
    ----------
    in_features, out_features
        Widths of a row before and after.
    bias
        Whether b is there.
    """

    in_features: int
    out_features: int
    bias: bool = True

    def __post_init__(self) -> None:
        settle(
            self,
            in_features=whole("in_features", self.in_features, 1),
            out_features=whole("out_features", self.out_features, 1),
            bias=flag("bias", self.bias),
        )

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        if features_of(shape) != self.in_features:
            raise ValueError(f"takes {self.in_features} features, but gets {features_of(shape)}")
        return ("linear", self.in_features, self.out_features, self.bias)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one output."""
        return (self.out_features,)

    def initial(self, name: str, draw: Draw) -> Values:
        """Return weights and biases uniform in ±1/√in."""
        return draw(1 / math.sqrt(self.in_features))
