"""Radial basis functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from epsball.arguments import flag, settle, whole
from epsball.layers.base import Description, Draw, Layer, Shape, Values, features_of


@dataclass(frozen=True)
class RBF(Layer):
    """y_j = −Σ_i (scale_ji (x_i − centre_ji))², the logarithm of a Gaussian bump; never positive.

    As a model's last layer it gives unnormalised log confidences of the classes, β_j = −scale_j² being a diagonal
    negative definite form (the shallow RBF network of Goodfellow et al. 2015, arXiv 1412.6572): `probabilities` is
    exp(y), and the loss "confidence" trains it. With `Exp` on top it is a hidden layer of Gaussian units
    exp(−γ_j ‖x − centre_j‖²), γ_j = scale_j². `epsball.models.rbf` makes either.

    Parameters
    ----------
    in_features, units
        Widths of a row before and after.
    diagonal
        Whether every feature of a unit has a scale of its own; else one serves them all.
    """

    in_features: int
    units: int
    diagonal: bool = False

    log_confidences: ClassVar[bool] = True

    def __post_init__(self) -> None:
        settle(
            self,
            in_features=whole("in_features", self.in_features, 1),
            units=whole("units", self.units, 1),
            diagonal=flag("diagonal", self.diagonal),
        )

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        if features_of(shape) != self.in_features:
            raise ValueError(f"takes {self.in_features} features, but gets {features_of(shape)}")
        return ("rbf", self.in_features, self.units, self.diagonal)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one output."""
        return (self.units,)

    def initial(self, name: str, draw: Draw) -> Values:
        """Return centres uniform in [0, 1], where pixels lie, and scales of 1/√in."""
        if name == "centre":
            return draw(0.5) + np.float32(0.5)
        return np.full_like(draw(0.0), 1 / math.sqrt(self.in_features))
