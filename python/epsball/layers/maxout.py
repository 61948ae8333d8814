"""Maxout."""

from __future__ import annotations

from dataclasses import dataclass

from epsball.arguments import settle, whole
from epsball.layers.base import Description, Layer, Shape, features_of


@dataclass(frozen=True)
class Maxout(Layer):
    """The largest of `pieces` values for each unit (Goodfellow et al. 2013, arXiv 1302.4389).

    The pieces are the outputs of the layer below, piece after piece: value p · units + u is piece p of unit u. The
    gradient goes to the first piece that has the maximum. Of images the channels are the pieces' units.

    Parameters
    ----------
    pieces
        Per unit; divides the number of features (of images: of channels).
    """

    pieces: int

    def __post_init__(self) -> None:
        settle(self, pieces=whole("pieces", self.pieces, 1))

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of this layer on inputs of `shape`."""
        if shape[0] % self.pieces:
            raise ValueError(f"takes a multiple of {self.pieces} values, but gets shape {shape}")
        return ("maxout", features_of(shape), self.pieces)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one output."""
        return (shape[0] // self.pieces, *shape[1:])
