"""Models: a list of layers with float32 parameters in the engine, their calls and their files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arguments import check_axes, check_seed, check_shape
from epsball.arrays import as_numpy
from epsball.classifier import Classifier, word
from epsball.layers import LAYERS, Dropout, Flatten, Layer
from epsball.layers.activation import Activation
from epsball.layers.base import Description, Shape, Values, check_count
from epsball.layers.residual import Residual

PLAIN = (Flatten, Dropout, Activation)  # what keeps the number of features
FORMAT = "epsball-model"
FORMAT_VERSION = 1


class Sequential(Classifier):
    """Layers one after another.

    Parameters
    ----------
    layers
        The layers of `epsball.layers`, from the input to the logits.
    input_shape
        Shape of one input, channels first for images: (1, 28, 28) or (784,).
    seed
        Of the initial weights, uniform in ±1/√in as torch draws them (the numbers differ).

    Raises
    ------
    ValueError
        The layers do not fit each other or `input_shape`.
    TypeError
        An element of `layers` is no epsball layer.

    Attributes
    ----------
    layers : tuple of layers
        As given.
    input_shape : tuple of int
        As given.
    classes : int
        Logits per row; 1 for a logistic model.
    device : str
        Where it computes: "cpu", or what `to` was told.
    precision : str
        Of its matrix products: "float32", or what `to` was told.

    Examples
    --------
    >>> import epsball as eb
    >>> model = eb.Sequential([eb.Flatten(), eb.Linear(784, 64), eb.ReLU(), eb.Linear(64, 10)], input_shape=(1, 28, 28))
    """

    def __init__(self, layers: Sequence[Layer], input_shape: Sequence[int], seed: int = 0) -> None:
        try:
            self.layers = tuple(layers)
        except TypeError:
            raise TypeError(f"layers: wanted a sequence of layers, got {layers!r}") from None
        seed = check_seed(seed)
        self.input_shape = check_shape("input_shape", input_shape)
        self._places = _places(self.layers, self.input_shape)
        self._native = _native.Model([(p.name, p.reads, p.description) for p in self._places])
        self.classes: int = self._native.classes
        self.device = "cpu"
        self.precision = "float32"
        self.log_confidences = self.layers[-1].log_confidences
        self._torch_source: Any = None  # what sync_from_torch needs to know of the module, from from_torch
        self._initialise(seed)

    def _initialise(self, seed: int) -> None:
        values: dict[str, npt.NDArray[np.float32]] = {}
        numbers = {place.name: i for i, place in enumerate(self._places)}
        for full_name, zeros in self._native.parameters().items():
            place, name = full_name.rsplit(".", 1)
            i = numbers[place]

            def draw(bound: float, shape: Shape = zeros.shape, stream: int = 2 * i + (name == "bias")) -> Values:
                return _native.uniform(math.prod(shape), -bound, bound, seed, stream).reshape(shape)

            values[full_name] = self._places[i].layer.initial(name, draw)
        self._native.load_parameters(values)

    def __repr__(self) -> str:
        return f"Sequential({list(self.layers)}, input_shape={self.input_shape})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy.deepcopy take layers, parameters, device and precision; a copy has weights of its own."""
        state = {"_torch_source": self._torch_source}
        place = (self.device, self.precision)
        return _with_parameters, (self.layers, self.input_shape, self.parameters(), *place), state

    def _engine(self, x: npt.NDArray[Any], gradients: bool) -> _native.Model:
        if len(x.shape) == 4:
            check_axes(x.shape[1:], self.input_shape)
        return self._native

    def parameter_gradients(self, x: Any, y: Any, loss: str = "cross_entropy") -> dict[str, npt.NDArray[np.float32]]:
        """Return the gradient of the mean loss over the rows for every parameter, by name; dropout is off."""
        a = as_numpy("x", x, device=self.device)
        return dict(self._engine(a, True).parameter_gradients(a, self._labels(a, y), word("loss", loss)))

    # ---- intervals

    def output_bounds(self, low: Any, high: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return bounds of the logits over boxes of inputs, by interval bound propagation (Gowal et al. 2018).

        arXiv 1810.12715. Intervals are widened by more than float32 rounding can amount to in the sums. Dropout is off,
        and batch normalisation goes by its running statistics.

        Parameters
        ----------
        low, high
            (N, ...) the boxes' corners, low ≤ high.

        Returns
        -------
        (ndarray, ndarray)
            Lower and upper bounds, (N, K) float32 each.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named; a layer that does not carry intervals.
        """
        self.check_intervals()
        ends = [as_numpy(name, side, device=self.device) for name, side in (("low", low), ("high", high))]
        if ends[0].shape != ends[1].shape:
            raise ValueError(f"high: wanted the shape of low, {ends[0].shape}, got {ends[1].shape}")
        if not (ends[0] <= ends[1]).all():
            raise ValueError("high: wanted values that are not below those of low")
        lower, upper = self._engine(ends[0], False).bounds(*ends)
        if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
            raise ValueError("model: it gave a bound that is not finite; its weights are too large for float32")
        return lower, upper

    def check_intervals(self) -> None:
        """Raise unless all layers carry intervals, which are widened by what float32 products can be off."""
        if self.precision != "float32":
            raise ValueError(f"model: wanted float32 products for bounds that hold, got {self.precision!r} (model.to)")
        misfit = self._native.interval_misfit()
        if misfit >= 0:
            place = self._places[misfit]
            raise ValueError(
                f"model: wanted layers that carry intervals (linear ones, maxima, activations that never fall), got "
                f"layer {place.name} ({place.layer})"
            )

    # ---- parameters and files

    def parameters(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return copies of all parameters by name, in layer order, weight before bias, in torch's layouts.

        A name is the layer's place and the parameter: "2.weight"; inside a `Residual` "3.body.0.weight", body first.
        """
        return dict(self._native.parameters())

    def load_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Copy all parameters in, under the names of `parameters`; on an error nothing changes.

        Raises
        ------
        ValueError, TypeError
            A parameter is missing, unknown, of the wrong shape or not finite; its name is in the message.
        """
        if not isinstance(parameters, Mapping):
            raise TypeError(f"parameters: wanted arrays by name, got {type(parameters).__name__}")
        for name in parameters:
            word("parameters", name)
        self._native.load_parameters(
            {name: as_numpy(name, value, device=self.device) for name, value in parameters.items()}
        )

    def to(self, device: str, precision: str = "float32") -> Sequential:
        """Compute on `device` from now on, and return the model.

        Parameters
        ----------
        device
            "cpu" or "cuda".
        precision
            Of the matrix products of dense layers on "cuda": "float32", or "tf32" (10 bits of mantissa) or "bf16" (7),
            to which tensor cores have the factors rounded; sums stay float32, and so do parameters and the rest.

        Returns
        -------
        Sequential
            The model itself. Its parameters stay the same; NumPy arrays are copied to the device and back.

        Raises
        ------
        ValueError
            An unknown device or precision; a precision other than "float32" on the CPU.
        RuntimeError
            No CUDA device can be used here; the message says why. Or the model is being trained.
        """
        from epsball.device import table_of

        self._native.place(table_of(device, precision))
        self.device, self.precision = device, precision
        return self

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model as safetensors with its layers in the metadata; an existing file is replaced whole."""
        from epsball.files import save_tensors

        save_tensors(path, self.parameters(), FORMAT, FORMAT_VERSION,
                     {"layers": _described(self.layers), "input_shape": list(self.input_shape)})  # fmt: skip


def load(path: str | PathLike[str]) -> Sequential:
    """Read a model written by `Sequential.save`.

    Parameters
    ----------
    path
        A safetensors file.

    Returns
    -------
    Sequential
        With the layers and the weights that were saved, to the bit.

    Raises
    ------
    ValueError
        The file is truncated, not safetensors, not an epsball model or of a later format version.
    OSError
        It cannot be read.
    """
    from epsball.files import load_tensors

    tensors, header = load_tensors(path, FORMAT, FORMAT_VERSION)
    try:
        model = _with_parameters(_layers(header["layers"]), header["input_shape"], tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{Path(path)}: not a usable epsball model: {error}") from error
    return model


def _with_parameters(
    layers: Sequence[Layer],
    input_shape: Shape,
    parameters: Mapping[str, Any],
    device: str = "cpu",
    precision: str = "float32",
) -> Sequential:
    model = Sequential(layers, input_shape)
    model.load_parameters(parameters)
    return model.to(device, precision)


def _described(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Return layers as files have them."""
    options = [{f.name: getattr(layer, f.name) for f in fields(layer)} for layer in layers]
    for layer, own in zip(layers, options, strict=True):
        if isinstance(layer, Residual):
            own.update(body=_described(layer.body), shortcut=_described(layer.shortcut))
    return [{"kind": type(layer).__name__, **own} for layer, own in zip(layers, options, strict=True)]


def _layers(descriptions: Sequence[Mapping[str, Any]]) -> list[Layer]:
    """Return the layers that `_described` wrote down."""
    layers = []
    for description in descriptions:
        options = dict(description)
        kind = options.pop("kind")
        if kind not in LAYERS:
            raise ValueError(f"unknown layer {kind!r}")
        if LAYERS[kind] is Residual:
            options |= {part: _layers(options[part]) for part in ("body", "shortcut")}
        layers.append(LAYERS[kind](**options))
    return layers


@dataclass(frozen=True)
class Place:
    """A layer in a model; a `Residual` stands for the sum at its end."""

    name: str  # "3", or "3.body.0" in a block
    layer: Layer
    shape: Shape  # of one input
    reads: tuple[int, ...]  # places of the layers whose outputs it takes, -1 being the model's input
    description: Description


def _places(layers: Sequence[Layer], input_shape: Shape) -> list[Place]:
    """Return the layers, those of blocks too, each behind those that it takes and fitted to them."""
    if not layers:
        raise ValueError("layers: wanted at least one layer, got none")
    if all(isinstance(layer, Flatten) for layer in layers):
        raise ValueError("layers: none of them computes anything")
    try:
        check_count(input_shape)
    except ValueError as error:
        raise ValueError(f"input_shape: {input_shape} {error}") from None
    places: list[Place] = []

    def put(layers: Sequence[Layer], prefix: str, shape: Shape, source: int) -> int:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layers: layer {i} is no epsball layer but {type(layer).__name__}: {layer!r}")
            name = f"{prefix}{i}"
            reads: tuple[int, ...] = (source,)
            if isinstance(layer, Residual):
                parts = {"body": layer.body, "shortcut": layer.shortcut}
                reads = tuple(put(part, f"{name}.{key}.", shape, source) for key, part in parts.items())
            try:
                place = Place(name, layer, shape, reads, layer.native(shape))
                shape = layer.output_shape(shape)
                check_count(shape)
            except ValueError as error:
                below = "input_shape" if all(isinstance(seen.layer, PLAIN) for seen in places) else "the layer below"
                raise ValueError(f"layers: layer {name} ({layer}) does not fit {below}: it {error}") from None
            places.append(place)
            source = len(places) - 1
        return source

    put(layers, "", input_shape, -1)
    return places


__all__ = ["Sequential", "load"]
