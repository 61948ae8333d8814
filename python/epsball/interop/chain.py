"""A model in the making: layers of another framework, lowered one by one, on values that they have made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import check_shape
from epsball.layers import AvgPool2d, Flatten, Layer, Normalize, Residual
from epsball.layers.base import Shape
from epsball.model import Sequential

Constant = npt.NDArray[Any]


class Refused(ValueError):  # noqa: N818 - callers see the ValueError that is made of it
    """Why a layer cannot be lowered; goes on after "it". `elsewhere`: whether a TorchModel would be of use."""

    def __init__(self, why: str, elsewhere: bool = True) -> None:
        super().__init__(why)
        self.elsewhere = elsewhere


@dataclass(eq=False)
class Value:
    """What has become of the input: a layer on the value below, or constants on it that are no layer yet."""

    shape: Shape
    below: Value | None = None  # None: this is the input
    layer: Layer | None = None
    values: dict[str, Constant] = field(default_factory=dict)  # of the layer's parameters
    sources: dict[str, str] = field(default_factory=dict)  # what those are called where they come from
    affine: tuple[Constant, Constant] | None = None  # (mean, std)
    settled: Value | None = None  # the same as a layer, where it was needed
    inside: bool = False  # of a residual block that has ended


class Chain:
    """Values made of the input by layers, one of them at hand, which the next layer takes."""

    def __init__(self, input_shape: Any) -> None:
        self.at = Value(check_shape("input_shape", input_shape))
        self.input_shape = self.at.shape

    def __bool__(self) -> bool:
        """Whether anything is there."""
        return self.at.below is not None

    @property
    def shape(self) -> Shape:
        """Of the value at hand."""
        return self.at.shape

    def use(self, value: Value) -> None:
        """Go on from a value."""
        if any(v.inside for v in _spine(value)):
            raise Refused("takes a value from inside a residual block that has ended")
        self.at = value

    def add(
        self, layer: Layer, values: Mapping[str, Any] | None = None, sources: Mapping[str, str] | None = None
    ) -> None:
        """Put a layer on top; its parameters' values by name are taken to float32."""
        self.settle()
        try:
            layer.native(self.shape)
        except ValueError as error:
            raise Refused(str(error)) from None
        taken = {}
        for name, value in (values or {}).items():
            array = np.asarray(value)
            with np.errstate(over="ignore"):  # what overflows is refused with what is not finite
                single = array.astype(np.float32, copy=False)
            if not np.isfinite(single).all():
                raise Refused(f"has a {name} {array.shape} that is not finite in float32")
            taken[name] = single
        self.at = Value(layer.output_shape(self.shape), self.at, layer, taken, dict(sources or {}))

    def join(self, one: Value, other: Value) -> None:
        """Add two values: a residual block on the last value that both are made of."""
        if one.shape != other.shape:
            raise Refused(f"adds values of shapes {one.shape} and {other.shape}")
        spines = []
        for value in (one, other):
            self.use(value)
            self.settle()
            spines.append([*_spine(self.at)])
        fork = next(v for v in spines[0] if v in spines[1])
        parts = [spine[: spine.index(fork)][::-1] for spine in spines]
        body, shortcut = parts if parts[0] else parts[::-1]
        if not body:  # x + x
            self.affine("mul", 2.0)
            return
        named = {f"{part}.{i}": v for part, vs in (("body", body), ("shortcut", shortcut)) for i, v in enumerate(vs)}
        layer = Residual([v.layer for v in body if v.layer], [v.layer for v in shortcut if v.layer])
        self.at = Value(one.shape, fork, layer)
        for place, v in named.items():
            v.inside = True
            self.at.values |= {f"{place}.{name}": value for name, value in v.values.items()}
            self.at.sources |= {f"{place}.{name}": source for name, source in v.sources.items()}

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
        mean, std = self.at.affine or (np.zeros(1), np.ones(1))
        with np.errstate(all="ignore"):
            if operation in ("add", "sub"):
                mean = mean + (c if operation == "sub" else -c) * std
            else:
                std = std * c if operation == "div" else std / c
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise Refused("scales by something that is not a positive number")
        below = self.at.below if self.at.affine else self.at
        self.at = Value(self.shape, below, affine=(mean, std))

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
        """Make the constants met since the last layer one Normalize."""
        loose = self.at
        if loose.affine is None or loose.below is None:
            return
        if loose.settled is None:
            channels = self.shape[0]
            mean, std = (np.broadcast_to(v, channels) if len(v) > 1 else v for v in loose.affine)
            self.at = loose.below
            try:
                self.add(Normalize(*(float(v[0]) if len(v) == 1 else tuple(v.tolist()) for v in (mean, std))))
            except ValueError as error:
                raise Refused(f"is no Normalize: {error}") from None
            loose.settled = self.at
        self.at = loose.settled

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

    def model(self) -> tuple[Sequential, dict[str, str]]:
        """Return the model that gives the value at hand, and what its parameters are called where they come from."""
        self.settle()
        path = [v for v in _spine(self.at) if v.layer][::-1]
        model = Sequential([v.layer for v in path if v.layer], self.input_shape)
        model.load_parameters({f"{i}.{name}": value for i, v in enumerate(path) for name, value in v.values.items()})
        return model, {f"{i}.{name}": source for i, v in enumerate(path) for name, source in v.sources.items()}


def _spine(value: Value) -> Iterator[Value]:
    """Go from a value down to the input, past the insides of residual blocks."""
    at: Value | None = value
    while at is not None:
        yield at
        at = at.below


def _image(shape: Shape) -> tuple[int, int]:
    if len(shape) != 3:
        raise Refused(f"takes images (channels, height, width), but gets shape {shape}")
    return shape[1], shape[2]


def _shown(target: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("N" if n is None else str(n) for n in target) + ")"
