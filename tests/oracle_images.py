"""The float64 NumPy oracle of models with layers of images, with running rounding bounds as in oracle.py.

A convolution and an average pool are matrices here, written down tap by tap; the engine knows no such matrix.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import epsball as eb
from oracle import (
    CURVATURE,
    ELEMENTARY,
    KINKED,
    TINY,
    Array,
    U,
    activate,
    gamma,
    loss_gradient,
    loss_gradient_rounding,
    slope,
)

Bounded = tuple[Array, Array]  # a value and the bound of its float32 error
Shape = tuple[int, ...]
ACTIVATION_OF = {
    "ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu", "Sigmoid": "sigmoid",
    "Tanh": "tanh", "Softplus": "softplus", "GELU": "gelu", "Quadratic": "quadratic",
}  # fmt: skip


class Layer(ABC):
    """A layer on rows (N, features), with its parameters by their names in the engine."""

    def __init__(self, shape: Shape, parameters: dict[str, Array]) -> None:
        self.shape = self.out = shape
        self.parameters = parameters

    @abstractmethod
    def forward(self, h: Array, dh: Array, training: bool) -> Bounded:
        """Outputs for inputs `h` with errors `dh`."""

    @abstractmethod
    def backward(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> Bounded:
        """Gradients of inputs from those of the outputs."""

    def gradients(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> dict[str, Bounded]:
        """Gradients of parameters from those of the outputs."""
        return {}

    def keep(self, h: Array) -> None:
        """Move running statistics towards those of a batch."""
        return

    def kinks(self, h: Array, dh: Array) -> NDArray[np.bool_]:
        """Rows where float32 may take another branch than float64 does."""
        return np.zeros(len(h), bool)

    def branches(self, h: Array) -> Array:
        """What tells the branches taken apart, (N, ...)."""
        return np.zeros((len(h), 1))


# ---- sliding windows


def pair_of(n: int | tuple[int, int]) -> tuple[int, int]:
    return (n, n) if isinstance(n, int) else n


@dataclass
class Window:
    """Kernel, stride and padding, (down, across), on images of `shape`."""

    shape: Shape
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @staticmethod
    def of(layer: Any, shape: Shape) -> Window:
        stride = layer.kernel_size if layer.stride is None else layer.stride
        return Window(shape, pair_of(layer.kernel_size), pair_of(stride), pair_of(layer.padding))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the outputs, counted one by one."""
        down, across = (
            len(range(-p, n + p - k + 1, s))
            for n, k, s, p in zip(self.shape[1:], self.kernel, self.stride, self.padding, strict=True)
        )
        return down, across

    def taps(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        """(output row, output column, tap row, tap column, input row, input column) of every tap inside the image."""
        for oy, ox in np.ndindex(*self.size):
            for ky, kx in np.ndindex(*self.kernel):
                iy = oy * self.stride[0] - self.padding[0] + ky
                ix = ox * self.stride[1] - self.padding[1] + kx
                if 0 <= iy < self.shape[1] and 0 <= ix < self.shape[2]:
                    yield oy, ox, ky, kx, iy, ix


# ---- layers


class Affine(Layer):
    """h M^T + b: a linear layer, a convolution or an average pool."""

    fan_in = fan_out = 0  # terms of an output, and of an input's gradient
    uses = 1  # how often a row uses a weight

    @abstractmethod
    def spread(self, weight: Array) -> Array:
        """The matrix (outputs, inputs) of these weights."""

    @abstractmethod
    def gather(self, matrix: Array) -> Array:
        """The transpose of `spread`: sums over the places where a weight stands."""

    def bias(self) -> Array:
        if "bias" not in self.parameters:
            return np.zeros(1)
        return np.repeat(self.parameters["bias"], int(np.prod(self.out[1:])))

    def forward(self, h: Array, dh: Array, training: bool) -> Bounded:
        m, b = self.spread(self.parameters["weight"]), self.bias()
        size = np.abs(m).T
        # The engine may have folded a scale into weights and bias, which rounds each of them once more.
        c = gamma(self.fan_in + 2)
        return h @ m.T + b, (1 + c) * (dh @ size) + c * (np.abs(h) @ size + np.abs(b)) + TINY

    def backward(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> Bounded:
        size = np.abs(self.spread(self.parameters["weight"]))
        c = gamma(self.fan_out + 2)
        below = (1 + c) * (dg @ size) + c * (np.abs(g) @ size) + TINY
        return g @ self.spread(self.parameters["weight"]), below

    def gradients(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> dict[str, Bounded]:
        many = gamma(len(g) * self.uses)
        error = dg.T @ (np.abs(h) + dh) + np.abs(g).T @ dh + many * (np.abs(g).T @ np.abs(h))
        parameters = {"weight": (self.gather(g.T @ h), self.gather(error) + TINY)}
        if "bias" in self.parameters:
            each = (len(self.parameters["bias"]), -1)
            error = dg.sum(axis=0) + many * np.abs(g).sum(axis=0)
            sums = g.sum(axis=0).reshape(each).sum(axis=1)
            parameters["bias"] = (sums, error.reshape(each).sum(axis=1) + TINY)
        return parameters


class Linear(Affine):
    def __init__(self, layer: eb.Linear, shape: Shape, parameters: dict[str, Array]) -> None:
        super().__init__(shape, parameters)
        self.out = (layer.out_features,)
        self.fan_in, self.fan_out = layer.in_features, layer.out_features

    def spread(self, weight: Array) -> Array:
        return weight

    def gather(self, matrix: Array) -> Array:
        return matrix


class Conv2d(Affine):
    def __init__(self, layer: eb.Conv2d, shape: Shape, parameters: dict[str, Array]) -> None:
        super().__init__(shape, parameters)
        self.window = Window.of(layer, shape)
        self.out = (layer.out_channels, *self.window.size)
        taps = int(np.prod(self.window.kernel))
        self.fan_in, self.fan_out = layer.in_channels * taps, layer.out_channels * taps
        self.uses = int(np.prod(self.window.size))

    def spread(self, weight: Array) -> Array:
        matrix = np.zeros((*self.out, *self.shape))
        for oy, ox, ky, kx, iy, ix in self.window.taps():
            matrix[:, oy, ox, :, iy, ix] = weight[:, :, ky, kx]
        return matrix.reshape(np.prod(self.out), np.prod(self.shape))

    def gather(self, matrix: Array) -> Array:
        places = matrix.reshape(*self.out, *self.shape)
        weight = np.zeros_like(self.parameters["weight"])
        for oy, ox, ky, kx, iy, ix in self.window.taps():
            weight[:, :, ky, kx] += places[:, oy, ox, :, iy, ix]
        return weight


class AvgPool2d(Layer):
    def __init__(self, layer: eb.AvgPool2d, shape: Shape, parameters: dict[str, Array]) -> None:
        super().__init__(shape, parameters)
        window = Window.of(layer, shape)
        self.out = (shape[0], *window.size)
        self.taps = int(np.prod(window.kernel))
        matrix = np.zeros((*self.out, *shape))
        for oy, ox, _, _, iy, ix in window.taps():
            for c in range(shape[0]):
                matrix[c, oy, ox, c, iy, ix] = 1 / self.taps
        self.matrix = matrix.reshape(np.prod(self.out), np.prod(shape))

    def forward(self, h: Array, dh: Array, training: bool) -> Bounded:
        c = gamma(self.taps + 2)
        return h @ self.matrix.T, (1 + c) * (dh @ self.matrix.T) + c * (np.abs(h) @ self.matrix.T) + TINY

    def backward(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> Bounded:
        c = gamma(self.taps + 2)
        return g @ self.matrix, (1 + c) * (dg @ self.matrix) + c * (np.abs(g) @ self.matrix) + TINY


class MaxPool2d(Layer):
    def __init__(self, layer: eb.MaxPool2d, shape: Shape, parameters: dict[str, Array]) -> None:
        super().__init__(shape, parameters)
        window = Window.of(layer, shape)
        self.out = (shape[0], *window.size)
        self.taps = int(np.prod(window.kernel))
        pixels, outputs = np.arange(np.prod(shape)).reshape(shape), np.arange(np.prod(self.out)).reshape(self.out)
        self.reads: list[list[int]] = [[] for _ in range(outputs.size)]
        for oy, ox, _, _, iy, ix in window.taps():
            for c in range(shape[0]):
                self.reads[outputs[c, oy, ox]].append(int(pixels[c, iy, ix]))

    def winners(self, h: Array) -> NDArray[np.int64]:
        """The first of the largest inputs of every window, (N, outputs)."""
        return np.stack([np.array(reads)[h[:, reads].argmax(axis=1)] for reads in self.reads], axis=1)

    def forward(self, h: Array, dh: Array, training: bool) -> Bounded:
        y = np.take_along_axis(h, self.winners(h), axis=1)
        return y, np.stack([dh[:, reads].max(axis=1) for reads in self.reads], axis=1)

    def backward(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> Bounded:
        below, error = np.zeros_like(h), np.zeros_like(h)
        rows = np.arange(len(h))
        for output, winner in enumerate(self.winners(h).T):
            below[rows, winner] += g[:, output]
            error[rows, winner] += dg[:, output] + gamma(self.taps) * np.abs(g[:, output])
        return below, error

    def kinks(self, h: Array, dh: Array) -> NDArray[np.bool_]:
        bad = np.zeros(len(h), bool)
        for reads, winner in zip(self.reads, self.winners(h).T, strict=True):
            others = np.array(reads)[None] != winner[:, None]
            gap = np.take_along_axis(h, winner[:, None], axis=1) - h[:, reads]
            doubt = np.take_along_axis(dh, winner[:, None], axis=1) + dh[:, reads]
            bad |= (others & (gap <= doubt) & (doubt > 0)).any(axis=1)  # exact ties: the first, here as there
        return bad

    def branches(self, h: Array) -> Array:
        return self.winners(h).astype(np.float64)


class Activation(Layer):
    def __init__(self, layer: eb.layers.Layer, shape: Shape, parameters: dict[str, Array]) -> None:
        super().__init__(shape, parameters)
        self.name = ACTIVATION_OF[type(layer).__name__]

    def forward(self, h: Array, dh: Array, training: bool) -> Bounded:
        y = activate(self.name, h)
        if self.name == "relu":
            return y, np.where(h < -dh, 0.0, dh)  # below zero there is nothing to err
        steepest = 2 * np.abs(h) + dh if self.name == "quadratic" else 1.13
        return y, steepest * dh + ELEMENTARY * np.maximum(np.abs(y), 1.0)

    def backward(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> Bounded:
        s = slope(self.name, h)
        ds = CURVATURE[self.name] * dh
        if self.name != "relu":
            ds = ds + ELEMENTARY * np.maximum(np.abs(s), 1.0)
        return g * s, dg * (np.abs(s) + ds) + np.abs(g) * ds + 2 * U * np.abs(g * s)

    def kinks(self, h: Array, dh: Array) -> NDArray[np.bool_]:
        # An exact zero without error (a pixel) is on the same side here and there.
        return (self.name in KINKED) & ((np.abs(h) <= dh) & (dh > 0)).any(axis=1)

    def branches(self, h: Array) -> Array:
        return np.sign(h) if self.name in KINKED else np.zeros((len(h), 1))


class Normalize(Layer):
    def __init__(self, layer: eb.Normalize, shape: Shape, parameters: dict[str, Array]) -> None:
        super().__init__(shape, parameters)
        pixels = int(np.prod(shape[1:]))
        self.mean, self.std = (
            np.repeat(np.broadcast_to(np.asarray(v, np.float64), shape[0]), pixels) for v in (layer.mean, layer.std)
        )

    def forward(self, h: Array, dh: Array, training: bool) -> Bounded:
        rounding = 8 * U * (np.abs(h) + np.abs(self.mean)) / self.std
        return (h - self.mean) / self.std, 1.01 * dh / self.std + rounding

    def backward(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> Bounded:
        return g / self.std, 1.01 * dg / self.std + 8 * U * np.abs(g) / self.std


class BatchNorm(Layer):
    """Rounding bounds are those of the running statistics; in training there are none."""

    def __init__(self, layer: Any, shape: Shape, parameters: dict[str, Array]) -> None:
        super().__init__(shape, parameters)
        self.eps, self.momentum = layer.eps, layer.momentum
        self.pixels = int(np.prod(shape[1:]))

    def _spread(self, values: Array) -> Array:
        return np.repeat(values, self.pixels)

    def _sums(self, values: Array) -> Array:
        return values.sum(axis=0).reshape(-1, self.pixels).sum(axis=1)

    def moments(self, h: Array) -> tuple[Array, Array]:
        """Mean and biased variance of each channel over rows and pixels."""
        count = len(h) * self.pixels
        mean = self._sums(h) / count
        return mean, self._sums((h - self._spread(mean)) ** 2) / count

    def _statistics(self, h: Array, training: bool) -> tuple[Array, Array, Array]:
        """Mean, 1 / deviation and their product with the weight, spread over the pixels."""
        p = self.parameters
        mean, variance = self.moments(h) if training else (p["running_mean"], p["running_var"])
        inverse = 1 / np.sqrt(variance + self.eps)
        return self._spread(mean), self._spread(inverse), self._spread(p["weight"] * inverse)

    def forward(self, h: Array, dh: Array, training: bool) -> Bounded:
        mean, _, scale = self._statistics(h, training)
        shift = self._spread(self.parameters["bias"])
        y = (h - mean) * scale + shift
        rounding = 8 * U * ((np.abs(h) + np.abs(mean)) * np.abs(scale) + np.abs(shift))
        return y, 1.01 * dh * np.abs(scale) + rounding

    def gradients(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> dict[str, Bounded]:
        mean, inverse, _ = self._statistics(h, training)
        zeros = np.zeros_like(self.parameters["bias"])
        weight, bias = self._sums(g * (h - mean) * inverse), self._sums(g)
        far = (np.abs(h - mean) + dh) * inverse
        error = 8 * U * np.abs(g) * (far + np.abs(mean) * inverse) + np.abs(g) * dh * inverse + dg * far
        return {
            "weight": (weight, 1.01 * self._sums(error) + 8 * U * np.abs(weight) + TINY),
            "bias": (bias, self._sums(dg) + 8 * U * np.abs(bias) + TINY),
            "running_mean": (zeros, zeros),
            "running_var": (zeros, zeros),
        }

    def backward(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> Bounded:
        mean, inverse, scale = self._statistics(h, training)
        error = 1.01 * dg * np.abs(scale) + 8 * U * np.abs(g * scale)
        if not training:
            return g * scale, error
        # Through the mean and the variance of the batch.
        unit, count = (h - mean) * inverse, len(h) * self.pixels
        means = self._spread(self._sums(g)) / count, self._spread(self._sums(g * unit)) / count
        return scale * (g - means[0] - unit * means[1]), error

    def keep(self, h: Array) -> None:
        """Move the running statistics towards those of a batch."""
        mean, variance = self.moments(h)
        count = len(h) * self.pixels
        p = self.parameters
        p["running_mean"] += self.momentum * (mean - p["running_mean"])
        p["running_var"] += self.momentum * (variance * count / (count - 1) - p["running_var"])


class Residual(Layer):
    """Sum of two branches, each walked through anew for every question asked."""

    def __init__(self, layer: eb.Residual, shape: Shape, parameters: dict[str, Array]) -> None:
        super().__init__(shape, parameters)
        self.branch = {key: made(getattr(layer, key), shape, below(parameters, key)) for key in ("body", "shortcut")}
        self.out = self.branch["body"][1]

    def _walk(self, key: str, h: Array, dh: Array, training: bool) -> list[Bounded]:
        values = [(h, dh)]
        for layer in self.branch[key][0].values():
            values.append(layer.forward(*values[-1], training))
        return values

    def forward(self, h: Array, dh: Array, training: bool) -> Bounded:
        (a, da), (b, db) = (self._walk(key, h, dh, training)[-1] for key in self.branch)
        return a + b, da + db + 2 * U * np.abs(a + b)

    def _back(
        self, key: str, h: Array, dh: Array, g: Array, dg: Array, training: bool
    ) -> tuple[Bounded, dict[str, Bounded]]:
        values = self._walk(key, h, dh, training)
        gradient, by_name = (g, dg), {}
        for (i, layer), value in reversed(list(zip(self.branch[key][0].items(), values[:-1], strict=True))):
            own = layer.gradients(*value, *gradient, training)
            by_name = {f"{key}.{i}.{n}": own[n] for n in own} | by_name
            gradient = layer.backward(*value, *gradient, training)
        return gradient, by_name

    def backward(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> Bounded:
        (a, da), (b, db) = (self._back(key, h, dh, g, dg, training)[0] for key in self.branch)
        return a + b, da + db + 2 * U * np.abs(a + b)

    def gradients(self, h: Array, dh: Array, g: Array, dg: Array, training: bool) -> dict[str, Bounded]:
        body, shortcut = (self._back(key, h, dh, g, dg, training)[1] for key in self.branch)
        return body | shortcut

    def _inner(self, h: Array, dh: Array, training: bool) -> Iterator[tuple[Layer, Bounded]]:
        for key in self.branch:
            yield from zip(self.branch[key][0].values(), self._walk(key, h, dh, training), strict=False)

    def keep(self, h: Array) -> None:
        for layer, (value, _) in list(self._inner(h, np.zeros_like(h), True)):
            layer.keep(value)

    def kinks(self, h: Array, dh: Array) -> NDArray[np.bool_]:
        inner = self._inner(h, dh, False)
        return np.any([super().kinks(h, dh), *(layer.kinks(*value) for layer, value in inner)], axis=0)

    def branches(self, h: Array) -> Array:
        inner = self._inner(h, np.zeros_like(h), False)
        return np.concatenate([super().branches(h), *(layer.branches(value) for layer, (value, _) in inner)], axis=1)


def below(parameters: dict[str, Array], place: str) -> dict[str, Array]:
    """The parameters of a place in the model, by the rest of their names."""
    return {n.removeprefix(f"{place}."): p for n, p in parameters.items() if n.startswith(f"{place}.")}


def made(layers: Any, shape: Shape, parameters: dict[str, Array]) -> tuple[dict[int, Layer], Shape]:
    """The layers that compute something by their places, and the shape of the last one's output."""
    found: dict[int, Layer] = {}
    for i, layer in enumerate(layers):
        kind = type(layer).__name__
        if kind == "Flatten":
            shape = (int(np.prod(shape)),)
        if kind not in ("Flatten", "Dropout"):
            found[i] = KINDS[kind](layer, shape, below(parameters, str(i)))
            shape = found[i].out
    return found, shape


# ---- models

KINDS: dict[str, Any] = {
    "Linear": Linear, "Conv2d": Conv2d, "AvgPool2d": AvgPool2d, "MaxPool2d": MaxPool2d, "Normalize": Normalize,
    "BatchNorm1d": BatchNorm, "BatchNorm2d": BatchNorm, "Residual": Residual,
    **dict.fromkeys(ACTIVATION_OF, Activation),
}  # fmt: skip


@dataclass
class Run:
    """Values after 0, 1, ... layers with their float32 error bounds."""

    values: list[Bounded]

    @property
    def logits(self) -> Array:
        return self.values[-1][0]

    @property
    def logit_errors(self) -> Array:
        return self.values[-1][1]


@dataclass
class Gradients:
    """Gradients and their float32 error bounds; parameters by their names in the engine."""

    inputs: Array
    input_errors: Array
    by_name: dict[str, Bounded]

    def parameters(self) -> list[Bounded]:
        """(gradient, bound) in the order of `model.parameters()`."""
        return list(self.by_name.values())


class Stack:
    """The float64 twin of an engine model, with its layers and float32 parameters; dropout is off."""

    def __init__(self, model: Any) -> None:
        self.features = int(np.prod(model.input_shape))
        parameters = {n: p.astype(np.float64) for n, p in model.parameters().items()}
        layers, shape = made(model.layers, tuple(model.input_shape), parameters)
        self.names, self.layers = list(layers), list(layers.values())
        self.classes = int(np.prod(shape))

    def forward(self, x: ArrayLike, training: bool = False) -> Run:
        h = np.asarray(x, np.float64)
        values = [(h.reshape(len(h), self.features), np.zeros((len(h), self.features)))]
        for layer in self.layers:
            values.append(layer.forward(*values[-1], training))
        return Run(values)

    def __call__(self, x: ArrayLike) -> Array:
        return self.forward(x).logits

    def predict(self, x: ArrayLike) -> NDArray[np.int64]:
        z = self(x)
        return (z[:, 0] > 0).astype(np.int64) if self.classes == 1 else z.argmax(axis=1)

    def backward(
        self, run: Run, g: Array, dg: Array | None = None, training: bool = False, parameters: bool = True
    ) -> Gradients:
        """Input and, if wanted, parameter gradients of sum(g * logits)."""
        below = (g, np.zeros_like(g) if dg is None else dg)
        by_name: dict[str, Bounded] = {}
        for i, layer, value in reversed(list(zip(self.names, self.layers, run.values[:-1], strict=True))):
            if parameters:
                own = layer.gradients(*value, *below, training)
                by_name = {f"{i}.{n}": own[n] for n in own} | by_name
            below = layer.backward(*value, *below, training)
        return Gradients(*below, by_name)

    def gradient(self, x: ArrayLike, y: NDArray, loss: str = "cross_entropy") -> Gradients:
        """Gradients of the rows' losses: input (N, features) per row, parameters summed over rows."""
        run = self.forward(x)
        dg = loss_gradient_rounding(loss, run.logits, run.logit_errors, y)
        return self.backward(run, loss_gradient(loss, run.logits, y), dg)

    def jacobian(self, x: ArrayLike) -> Bounded:
        """d logits / d input, (N, K, features), and its float32 error bound."""
        run = self.forward(x)
        back = [self.backward(run, np.tile(np.eye(self.classes)[k], (len(run.logits), 1))) for k in range(self.classes)]
        return np.stack([b.inputs for b in back], axis=1), np.stack([b.input_errors for b in back], axis=1)

    def rows_on_a_kink(self, x: ArrayLike) -> NDArray[np.bool_]:
        """Rows where float32 may take another branch than float64 does."""
        run = self.forward(x)
        return np.any([layer.kinks(*v) for layer, v in zip(self.layers, run.values[:-1], strict=True)], axis=0)

    def same_branches(self, one: Run, other: Run) -> NDArray[np.bool_]:
        """Rows that take the same side of every kink in both runs."""
        return np.all(
            [
                (layer.branches(a) == layer.branches(b)).all(axis=1)
                for layer, (a, _), (b, _) in zip(self.layers, one.values[:-1], other.values[:-1], strict=True)
            ],
            axis=0,
        )

    def sgd_step(self, x: ArrayLike, y: NDArray, lr: float, share: ArrayLike | None = None) -> None:
        """One step of training on the rows' losses, each times its share (1 / N), with the batch's statistics."""
        run = self.forward(x, training=True)
        share = np.full(len(run.logits), 1 / len(run.logits)) if share is None else np.asarray(share)
        g = loss_gradient("cross_entropy", run.logits, y) * share[:, None]
        gradients = self.backward(run, g, training=True).by_name
        for i, layer, (h, _) in zip(self.names, self.layers, run.values[:-1], strict=True):
            layer.keep(h)
            for name, p in layer.parameters.items():
                p -= lr * gradients[f"{i}.{name}"][0]

    def parameters(self) -> dict[str, Array]:
        """By their names in the engine."""
        pairs = zip(self.names, self.layers, strict=True)
        return {f"{i}.{n}": p for i, layer in pairs for n, p in layer.parameters.items()}
