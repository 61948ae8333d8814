"""Residual blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from epsball.arguments import settle
from epsball.layers.base import Description, Layer, Shape, features_of


@dataclass(frozen=True)
class Residual(Layer):
    """y = body(x) + shortcut(x), on features or images (He et al. 2016, arXiv 1512.03385).

    Both parts are layers one after another; they may hold residual blocks. In `Sequential.parameters` they are called
    by their places: "3.body.0.weight", "3.shortcut.0.weight".

    Parameters
    ----------
    body
        Layers, at least one.
    shortcut
        Layers; none: x itself. What they give has the shape of what the body gives.

    Examples
    --------
    >>> import epsball as eb
    >>> block = eb.Residual(
    ...     body=[eb.Conv2d(8, 16, 3, stride=2, padding=1), eb.ReLU(), eb.Conv2d(16, 16, 3, padding=1)],
    ...     shortcut=[eb.Conv2d(8, 16, 1, stride=2)],
    ... )
    """

    body: Sequence[Layer]
    shortcut: Sequence[Layer] = ()

    def __post_init__(self) -> None:
        settle(self, body=_layers("body", self.body), shortcut=_layers("shortcut", self.shortcut))
        if not self.body:
            raise ValueError("body: wanted at least one layer, got none")

    def native(self, shape: Shape) -> Description:
        """Return the engine's description of the sum at the end of the block, on inputs of `shape`."""
        body, shortcut = _shape_after(self.body, shape), _shape_after(self.shortcut, shape)
        if body != shortcut:
            raise ValueError(f"adds what its body gives, shape {body}, to its shortcut's, shape {shortcut}")
        return ("sum", features_of(body))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one output for inputs of `shape`."""
        return _shape_after(self.body, shape)


def _layers(name: str, given: Sequence[Layer]) -> tuple[Layer, ...]:
    try:
        layers = tuple(given)
    except TypeError:
        raise TypeError(f"{name}: wanted a sequence of layers, got {given!r}") from None
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"{name}: layer {i} is no epsball layer but {type(layer).__name__}: {layer!r}")
    return layers


def _shape_after(layers: Sequence[Layer], shape: Shape) -> Shape:
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape
