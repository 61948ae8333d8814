"""Dropout."""

from __future__ import annotations

from dataclasses import dataclass

from epsball.arguments import BELOW_ONE, number, settle
from epsball.layers.base import Description, Layer, Shape, features_of


@dataclass(frozen=True)
class Dropout(Layer):
    """Drop each value with probability `p` while training and scale the others by 1 / (1 − p) (Srivastava et al. 2014).

    Predictions, attacks and gradients outside training see every value.

    Parameters
    ----------
    p
        In [0, 1).
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        settle(self, p=number("p", self.p, 0, BELOW_ONE))

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        return ("dropout", features_of(shape), self.p)
