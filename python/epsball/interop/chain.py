"""A model in the making: layers of another framework, lowered one by one, with the shape that they have come to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import check_shape
from epsball.layers import AvgPool2d, Flatten, Layer, Normalize
from epsball.layers.base import Shape
from epsball.model import Sequential

Constant = npt.NDArray[Any]


class Refused(ValueError):  # noqa: N818 - callers see the ValueError that is made of it
    """Why a layer cannot be lowered; goes on after "it". `elsewhere`: whether a TorchModel would be of use."""

    def __init__(self, why: str, elsewhere: bool = True) -> None:
        super().__init__(why)
        self.elsewhere = elsewhere


class Chain:
    """Layers so far, their parameters' values, and the shape that the next layer gets."""

    def __init__(self, input_shape: Any) -> None:
        self.shape: Shape = check_shape("input_shape", input_shape)
        self.input_shape = self.shape
        self.layers: list[Layer] = []
        self.values: dict[str, Constant] = {}
        self._affine: tuple[Constant, Constant] | None = None  # (mean, std) of the constants met since the last layer

    def __bool__(self) -> bool:
        """Whether anything is there."""
        return bool(self.layers) or self._affine is not None

    def add(self, layer: Layer, values: Mapping[str, Any] | None = None) -> None:
        """Put a layer on top; its parameters' values by name are taken to float32."""
        self.settle()
        try:
            layer.native(self.shape)
        except ValueError as error:
            raise Refused(str(error)) from None
        for name, value in (values or {}).items():
            array = np.asarray(value)
            with np.errstate(over="ignore"):  # what overflows is refused with what is not finite
                single = array.astype(np.float32, copy=False)
            if not np.isfinite(single).all():
                raise Refused(f"has a {name} {array.shape} that is not finite in float32")
            self.values[f"{len(self.layers)}.{name}"] = single
        self.layers.append(layer)
        self.shape = layer.output_shape(self.shape)

    def flatten(self) -> None:
        """Flatten what there is."""
        self.add(Flatten())

    def average(self) -> None:
        """Average every channel's image to one pixel."""
        self.add(AvgPool2d(_image(self.shape)))

    def adaptive_average(self, size: tuple[int | None, int | None]) -> None:
        """Average to `size` (None: as it is), if windows of one size without overlap do."""
        image = _image(self.shape)
        wanted = tuple(n if w is None else w for n, w in zip(image, size, strict=True))
        if any(w < 1 or n % w for n, w in zip(image, wanted, strict=True)):
            raise Refused(f"needs windows of several sizes from {image} to {wanted}")
        self.add(AvgPool2d((image[0] // wanted[0], image[1] // wanted[1])))

    def affine(self, operation: str, constant: Any) -> None:
        """Add, subtract, multiply by or divide by a constant per channel; neighbours make one Normalize."""
        c = self._per_channel(constant)
        mean, std = self._affine or (np.zeros(1), np.ones(1))
        with np.errstate(all="ignore"):
            if operation in ("add", "sub"):
                mean = mean + (c if operation == "sub" else -c) * std
            else:
                std = std * c if operation == "div" else std / c
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise Refused("scales by something that is not a positive number")
        self._affine = (mean, std)

    def _per_channel(self, constant: Any) -> Constant:
        """Return a constant that is broadcast over the batch as one value, or one per channel."""
        c = np.asarray(constant, np.float64)
        try:
            full: Constant = np.broadcast_to(c, (1, *self.shape))[0].reshape(self.shape[0], -1)
        except ValueError:
            raise Refused(f"has a constant of shape {c.shape}") from None
        if not np.isfinite(full).all():
            raise Refused("has a constant that is not finite")
        if (full != full[:, :1]).any():
            raise Refused(f"has a constant of shape {c.shape} that differs within a channel")
        return full[:1, 0] if (full == full[0, 0]).all() else full[:, 0]

    def settle(self) -> None:
        """Put the constants met since the last layer on top as one Normalize."""
        if self._affine is None:
            return
        channels = self.shape[0]
        mean, std = (np.broadcast_to(v, channels) if len(v) > 1 else v for v in self._affine)
        self._affine = None
        try:
            self.add(Normalize(*(float(v[0]) if len(v) == 1 else tuple(v.tolist()) for v in (mean, std))))
        except ValueError as error:
            raise Refused(f"is no Normalize: {error}") from None

    def reshape(self, target: tuple[int | None, ...]) -> None:
        """Reshape a batch to `target`, where None stands for the number of rows and one -1 for what is left."""
        features = math.prod(self.shape)
        row = target[1:]
        if target[:1] == (None,) and row.count(-1) == 1:
            rest = math.prod(n for n in row if n not in (-1, None))
            row = tuple(features // max(rest or 1, 1) if n == -1 else n for n in row)
        fits = target[:1] in ((None,), (-1,)) and not any(n is None or n < 1 for n in row)
        if not fits or math.prod(n for n in row if n) != features:
            raise Refused(f"reshapes to {_shown(target)}, which mixes rows")
        if row == self.shape:
            return
        if len(row) == 1:
            self.flatten()
            return
        hint = "" if self else f"; give input_shape={row}"
        raise Refused(f"reshapes to {_shown(target)}, and only Flatten is known{hint}")

    def model(self) -> Sequential:
        """Return the model."""
        self.settle()
        model = Sequential(self.layers, self.input_shape)
        model.load_parameters(self.values)
        return model


def _image(shape: Shape) -> tuple[int, int]:
    if len(shape) != 3:
        raise Refused(f"takes images (channels, height, width), but gets shape {shape}")
    return shape[1], shape[2]


def _shown(target: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("N" if n is None else str(n) for n in target) + ")"
