"""The float64 oracle of models that are not Linear layers with one activation: RBF, Maxout, kernels, votes.

A layer maps values with their float32 error bounds forward, and gradients with theirs backward; a `Stack` of them has
the interface of `oracle.Net`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import epsball as eb
import oracle
from oracle import ELEMENTARY, TINY, Array, gamma

Bounded = tuple[Array, Array]  # values and bounds on their float32 errors


class Layer(ABC):
    """Forward keeps what backward needs; `gradients` are those of `values`, in order."""

    values: tuple[Array, ...] = ()

    @abstractmethod
    def forward(self, x: Array, dx: Array) -> Bounded: ...

    @abstractmethod
    def backward(self, g: Array, dg: Array) -> Bounded: ...

    @abstractmethod
    def engine(self) -> Any: ...

    def gradients(self) -> list[Bounded]:
        return []

    def branches(self) -> Array | None:
        """The discrete choices that a pass made."""
        return None

    def undecided(self) -> NDArray[np.bool_] | None:
        """Rows where float32 may choose otherwise."""
        return None


class Linear(Layer):
    """x Wᵀ + b."""

    def __init__(self, weight: Array, bias: Array) -> None:
        self.values = (weight, bias)

    def engine(self) -> Any:
        return eb.Linear(self.values[0].shape[1], self.values[0].shape[0])

    def forward(self, x: Array, dx: Array) -> Bounded:
        self.x, self.dx = x, dx
        w, b = self.values
        g = gamma(w.shape[1])
        return x @ w.T + b, (1 + g) * (dx @ np.abs(w).T) + g * (np.abs(x) @ np.abs(w).T + np.abs(b)) + TINY

    def backward(self, g: Array, dg: Array) -> Bounded:
        self.g, self.dg = g, dg
        w, c = self.values[0], gamma(len(self.values[0]))
        return g @ w, (1 + c) * (dg @ np.abs(w)) + c * (np.abs(g) @ np.abs(w)) + TINY

    def gradients(self) -> list[Bounded]:
        x, dx, g, dg, c = np.abs(self.x), self.dx, np.abs(self.g), self.dg, gamma(len(self.g))
        weight = (1 + c) * (dg.T @ (x + dx) + g.T @ dx) + c * (g.T @ x)
        return [(self.g.T @ self.x, weight), (self.g.sum(axis=0), (1 + c) * dg.sum(axis=0) + c * g.sum(axis=0))]


class RBF(Layer):
    """−Σ (scale (x − centre))², scale (units,) or (units, features); x is exact, for it is the model's input."""

    def __init__(self, centre: Array, scale: Array) -> None:
        self.values = (centre, scale)

    @property
    def wide(self) -> Array:
        """The scale of every unit and feature."""
        centre, scale = self.values
        return scale if scale.ndim == 2 else scale[:, None] * np.ones_like(centre)

    def engine(self) -> Any:
        return eb.RBF(self.values[0].shape[1], len(self.values[0]), diagonal=self.values[1].ndim == 2)

    def forward(self, x: Array, dx: Array) -> Bounded:
        assert not dx.any()
        self.d = x[:, None, :] - self.values[0]  # (rows, units, features)
        z = -((self.wide * self.d) ** 2).sum(axis=2)
        return z, gamma(x.shape[1] + 8) * np.abs(z) + TINY

    def backward(self, g: Array, dg: Array) -> Bounded:
        self.g, self.dg = g, dg
        slope = -2 * self.wide**2 * self.d
        size = np.abs(slope)
        c = gamma(g.shape[1] + 8)
        error = (1 + c) * np.einsum("rj,rji->ri", dg, size) + c * np.einsum("rj,rji->ri", np.abs(g), size) + TINY
        return np.einsum("rj,rji->ri", g, slope), error

    def gradients(self) -> list[Bounded]:
        out = []
        for by in (2 * self.wide**2 * self.d, -2 * self.wide * self.d**2):
            c = gamma(len(self.g) + by.shape[2] + 8)
            size = np.abs(by)
            error = (1 + c) * np.einsum("rj,rji->ji", self.dg, size) + c * np.einsum("rj,rji->ji", abs(self.g), size)
            out.append((np.einsum("rj,rji->ji", self.g, by), error + TINY))
        if self.values[1].ndim == 1:
            out[1] = (out[1][0].sum(axis=1), out[1][1].sum(axis=1))
        return out


@dataclass
class Elementwise(Layer):
    """exp, tanh, or a power."""

    name: str
    degree: int = 0

    def engine(self) -> Any:
        return eb.Power(self.degree) if self.name == "power" else {"exp": eb.Exp, "tanh": eb.Tanh}[self.name]()

    def at(self, a: Array, order: int) -> Array:
        """The function (order 0), its first and its second derivative."""
        n = self.degree
        if self.name == "exp":
            return np.exp(a)
        if self.name == "power":
            return (a**n, n * a ** max(n - 1, 0), n * (n - 1) * a ** max(n - 2, 0))[order]
        t = np.tanh(a)
        return (t, 1 - t * t, np.full_like(t, 0.77))[order]

    def worst(self, a: Array, da: Array, order: int) -> Array:
        """The largest magnitude of a derivative within the error."""
        return np.maximum(np.abs(self.at(np.abs(a) + da, order)), np.abs(self.at(a + da, order)))

    def relative(self) -> float:
        return ELEMENTARY + gamma(self.degree)

    def forward(self, x: Array, dx: Array) -> Bounded:
        self.x, self.dx = x, dx
        y = self.at(x, 0)
        steepest = np.ones_like(x) if self.name == "tanh" else self.steepest(x, dx)
        floor = 1.0 if self.name == "tanh" else 0.0
        self.dy = steepest * dx + self.relative() * np.maximum(np.abs(y), floor) + TINY
        return y, self.dy

    def steepest(self, x: Array, dx: Array) -> Array:
        return np.exp(x + dx) if self.name == "exp" else self.worst(x, dx, 1)

    def backward(self, g: Array, dg: Array) -> Bounded:
        s = self.at(self.x, 1)
        if self.name == "exp":
            ds = self.dy
        else:
            ds = self.worst(self.x, self.dx, 2) * self.dx + self.relative() * np.maximum(np.abs(s), 1.0)
        return g * s, dg * (np.abs(s) + ds) + np.abs(g) * ds + 2 * oracle.U * np.abs(g * s) + TINY


@dataclass
class Maxout(Layer):
    """max over p of x[p · units + u]."""

    pieces: int

    def engine(self) -> Any:
        return eb.Maxout(self.pieces)

    def forward(self, x: Array, dx: Array) -> Bounded:
        self.x, self.dx = (a.reshape(len(x), self.pieces, -1) for a in (x, dx))
        self.first = self.x.argmax(axis=1)
        y = self.x.max(axis=1)
        return y, self.dx.max(axis=1)

    def backward(self, g: Array, dg: Array) -> Bounded:
        chosen = np.arange(self.pieces)[:, None] == self.first[:, None, :]
        return tuple((a[:, None, :] * chosen).reshape(len(g), -1) for a in (g, dg))

    def branches(self) -> Array:
        return self.first

    def undecided(self) -> NDArray[np.bool_]:
        if self.pieces == 1:
            return np.zeros(len(self.x), bool)
        top = np.sort(self.x, axis=1)
        return (top[:, -1] - top[:, -2] <= 2 * self.dx.max(axis=1)).any(axis=1)


@dataclass
class OneVsOne(Layer):
    """Votes plus s / (3 (|s| + 1)), after the loops of scikit-learn's documentation."""

    classes: int

    def engine(self) -> Any:
        return eb.OneVsOne(self.classes)

    def forward(self, x: Array, dx: Array) -> Bounded:
        self.x, self.dx = x, dx
        votes, s, ds = (np.zeros((len(x), self.classes)) for _ in range(3))
        for pair, (i, j) in enumerate(combinations(range(self.classes), 2)):
            votes[:, i] += x[:, pair] >= 0
            votes[:, j] += x[:, pair] < 0
            s[:, i] += x[:, pair]
            s[:, j] -= x[:, pair]
            for k in (i, j):
                ds[:, k] += dx[:, pair] + gamma(self.classes) * np.abs(x[:, pair])
        self.s, self.ds = s, ds
        return votes + s / (3 * (np.abs(s) + 1)), ds / 3 + 8 * oracle.U * (votes + 1)

    def backward(self, g: Array, dg: Array) -> Bounded:
        slope = 1 / (3 * (np.abs(self.s) + 1) ** 2)
        ds = self.ds + 8 * oracle.U  # |d slope / d s| <= 2 / 3
        t, dt = g * slope, (dg + 8 * oracle.U * np.abs(g)) * slope + (np.abs(g) + dg) * ds
        first, second = (np.array(side) for side in zip(*combinations(range(self.classes), 2), strict=True))
        return t[:, first] - t[:, second], dt[:, first] + dt[:, second] + TINY

    def branches(self) -> Array:
        return self.x >= 0

    def undecided(self) -> NDArray[np.bool_]:
        return (np.abs(self.x) <= self.dx).any(axis=1)


@dataclass
class Run:
    """A forward pass: logits, their bounds, and what its layers chose."""

    logits: Array
    logit_errors: Array
    branches: list[Array]
    kinks: NDArray[np.bool_]


@dataclass
class Gradients:
    """Input gradients and parameter gradients (summed over rows), each with its bound."""

    inputs: Array
    input_errors: Array
    of_parameters: list[Bounded]

    def parameters(self) -> list[Bounded]:
        return self.of_parameters


@dataclass
class Stack:
    """Layers one after another; parameters hold float32 values."""

    layers: list[Layer]
    features: int
    classes: int = field(init=False)

    def __post_init__(self) -> None:
        self.classes = self(np.zeros((1, self.features))).shape[1]

    def engine(self) -> Any:
        """The engine's model with the same parameters."""
        model = eb.Sequential([layer.engine() for layer in self.layers], input_shape=(self.features,))
        values = [v.astype(np.float32) for layer in self.layers for v in layer.values]
        model.load_parameters(dict(zip(model.parameters(), values, strict=True)))
        return model

    def forward(self, x: ArrayLike) -> Run:
        h = np.asarray(x, np.float64)
        h = h.reshape(len(h), -1)
        dh, branches, kinks = np.zeros_like(h), [], np.zeros(len(h), bool)
        for layer in self.layers:
            h, dh = layer.forward(h, dh)
            chosen, undecided = layer.branches(), layer.undecided()
            if chosen is not None:
                branches.append(chosen)
            if undecided is not None:
                kinks |= undecided
        return Run(h, dh, branches, kinks)

    def __call__(self, x: ArrayLike) -> Array:
        return self.forward(x).logits

    def loss(self, x: ArrayLike, y: NDArray, loss_name: str) -> Array:
        return oracle.loss(loss_name, self(x), y)

    def rows_on_a_kink(self, x: ArrayLike) -> NDArray[np.bool_]:
        return self.forward(x).kinks

    def backward(self, g: Array, dg: Array) -> Gradients:
        """Of the last forward pass."""
        parameters: list[Bounded] = []
        for layer in reversed(self.layers):
            g, dg = layer.backward(g, dg)
            parameters = layer.gradients() + parameters
        return Gradients(g, dg, parameters)

    def gradient(self, x: ArrayLike, y: NDArray, loss_name: str = "cross_entropy") -> Gradients:
        run = self.forward(x)
        g = oracle.loss_gradient(loss_name, run.logits, y)
        return self.backward(g, oracle.loss_gradient_rounding(loss_name, run.logits, run.logit_errors, y))

    def jacobian(self, x: ArrayLike) -> Bounded:
        out = []
        for k in range(self.classes):
            rows = len(self.forward(x).logits)
            back = self.backward(np.tile(np.eye(self.classes)[k], (rows, 1)), np.zeros((rows, self.classes)))
            out.append((back.inputs, back.input_errors))
        values, errors = zip(*out, strict=True)
        return np.stack(values, axis=1), np.stack(errors, axis=1)


def check_slopes(model: Any, net: Stack, x: NDArray, y: NDArray, loss: str) -> None:
    """The engine's gradient is the slope of the engine's own loss, up to rounding and the oracle's truncation."""
    h = 2.0**-5
    ok = ~net.rows_on_a_kink(x)
    x, y = x[ok], y[ok]
    back = net.gradient(x, y, loss)
    gradient = np.asarray(model.input_gradient(x, y, loss=loss), np.float64)
    compared = 0
    for i in range(x.shape[1]):
        up, down = x.copy(), x.copy()
        up[:, i] += np.float32(h)
        down[:, i] -= np.float32(h)
        width = up[:, i].astype(np.float64) - down[:, i]
        middle, high, low = net.forward(x), net.forward(up), net.forward(down)
        same = ~(high.kinks | low.kinks)
        for a, b, c in zip(middle.branches, high.branches, low.branches, strict=True):
            same &= ((a == b) & (b == c)).all(axis=1)
        exact = (oracle.loss(loss, high.logits, y) - oracle.loss(loss, low.logits, y)) / width
        truncation = np.abs(exact - back.inputs[:, i])
        rounding = sum(oracle.loss_rounding(loss, r.logits, r.logit_errors, y) for r in (high, low)) / width
        slope = np.asarray(model.loss(up, y, loss=loss), np.float64)
        slope = (slope - np.asarray(model.loss(down, y, loss=loss), np.float64)) / width
        bound = rounding + truncation + back.input_errors[:, i]
        assert (np.abs(gradient[:, i] - slope)[same] <= bound[same]).all()
        compared += int(same.sum())
    assert compared >= x.size // 2, "most coordinates were skipped"


# ---- random models, all of float32 values


def _round(a: Array) -> Array:
    return a.astype(np.float32).astype(np.float64)


def linear(rng: np.random.Generator, fan_in: int, fan_out: int) -> Linear:
    """Normal weights of variance 1 / fan-in, small biases."""
    return Linear(_round(rng.normal(0, fan_in**-0.5, (fan_out, fan_in))), _round(rng.normal(0, 0.1, fan_out)))


def rbf(rng: np.random.Generator, features: int, units: int, diagonal: bool) -> RBF:
    """Centres in the unit cube, scales that put log activations around -1, some of them negative."""
    scale = rng.uniform(0.5, 2.0, (units, features) if diagonal else units) * (3 / features) ** 0.5
    return RBF(_round(rng.uniform(0, 1, (units, features))), _round(scale * rng.choice([-1, 1], scale.shape)))


def gaussian_net(sizes: tuple[int, int, int], seed: int = 0) -> Stack:
    """Features, Gaussian units, classes."""
    rng = np.random.default_rng([seed, *sizes])
    features, units, classes = sizes
    return Stack([rbf(rng, features, units, False), Elementwise("exp"), linear(rng, units, classes)], features)


def rbf_classifier(features: int, classes: int, diagonal: bool = True, seed: int = 0) -> Stack:
    """The shallow network of log confidences."""
    return Stack([rbf(np.random.default_rng([seed, features, classes]), features, classes, diagonal)], features)


def maxout_net(sizes: list[int], pieces: int, seed: int = 0) -> Stack:
    """Features, maxout units, ..., classes."""
    rng = np.random.default_rng([seed, pieces, *sizes])
    layers: list[Layer] = []
    for fan_in, fan_out in pairwise(sizes[:-1]):
        layers += [linear(rng, fan_in, fan_out * pieces), Maxout(pieces)]
    return Stack([*layers, linear(rng, sizes[-2], sizes[-1])], sizes[0])
