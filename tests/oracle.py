"""The float64 NumPy oracle: every formula of the engine, written as plainly as NumPy allows.

Besides values it gives rounding bounds: a running error analysis of the same computation in float32,
so that a test's tolerance follows from the sizes involved and not from taste.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

U = 2.0**-24  # unit roundoff of float32
ELEMENTARY = 16 * U  # what one elementary function (exp, tanh, erf, ...) may err, relative to max(1, |f|)
TINY = 2.0**-126  # below the smallest normal float32, results may be flushed or denormal

ACTIVATIONS = ("relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus", "gelu", "quadratic")
KINKED = ("relu", "leaky_relu")
NORMS = ("linf", "l2", "l1")


# ---- activations


def sigmoid(a: ArrayLike) -> Array:
    """1 / (1 + exp(-a)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(a, np.float64)))


def _erf(a: Array) -> Array:
    return np.array([math.erf(v) for v in a.ravel()], np.float64).reshape(a.shape)


def activate(name: str, a: Array) -> Array:
    """The activation itself."""
    match name:
        case "relu":
            return np.maximum(a, 0.0)
        case "leaky_relu":
            return np.where(a > 0, a, 0.01 * a)
        case "elu":
            return np.where(a > 0, a, np.expm1(np.minimum(a, 0.0)))
        case "sigmoid":
            return sigmoid(a)
        case "tanh":
            return np.tanh(a)
        case "softplus":
            return np.logaddexp(0.0, a)
        case "gelu":
            return 0.5 * a * (1.0 + _erf(a / math.sqrt(2.0)))
        case "quadratic":
            return a * a
    raise ValueError(f"unknown activation {name!r}")


def slope(name: str, a: Array) -> Array:
    """The derivative of the activation; 0 (leaky: 0.01) at the kink, as in the engine and in torch."""
    match name:
        case "relu":
            return (a > 0).astype(np.float64)
        case "leaky_relu":
            return np.where(a > 0, 1.0, 0.01)
        case "elu":
            return np.where(a > 0, 1.0, np.exp(np.minimum(a, 0.0)))
        case "sigmoid":
            return sigmoid(a) * sigmoid(-a)
        case "tanh":
            return 1.0 - np.tanh(a) ** 2
        case "softplus":
            return sigmoid(a)
        case "gelu":
            density = np.exp(-0.5 * a * a) / math.sqrt(2.0 * math.pi)
            return 0.5 * (1.0 + _erf(a / math.sqrt(2.0))) + a * density
        case "quadratic":
            return 2.0 * a
    raise ValueError(f"unknown activation {name!r}")


# Largest |second derivative| away from kinks: how an error of the pre-activation moves the slope.
CURVATURE = {
    "relu": 0.0,
    "leaky_relu": 0.0,
    "elu": 1.0,
    "sigmoid": 0.1,
    "tanh": 0.77,
    "softplus": 0.25,
    "gelu": 0.8,
    "quadratic": 2.0,
}


# ---- losses: value (N,) and gradient with respect to the logits (N, K)

PIECEWISE_LINEAR = ("margin", "hinge", "crammer_singer", "logit")


def _one_hot(y: NDArray[np.int64], classes: int) -> Array:
    return np.eye(classes)[y]


def _signs(y: NDArray[np.int64]) -> Array:
    """Labels 0 / 1 of a one-logit model as -1 / +1, shaped (N, 1)."""
    return (2.0 * np.asarray(y, np.float64) - 1.0)[:, None]


def _others(z: Array, y: NDArray[np.int64]) -> Array:
    """The logits with the true class at -inf."""
    others = z.copy()
    others[np.arange(len(z)), y] = -np.inf
    return others


def _log_sum_exp(z: Array) -> Array:
    top = z.max(axis=1, keepdims=True)
    return (top + np.log(np.exp(z - top).sum(axis=1, keepdims=True)))[:, 0]


def loss(name: str, z: Array, y: NDArray) -> Array:
    """Loss of each row: `y` holds class indices (N,), or targets (N, K) where the loss takes them."""
    y = np.asarray(y)
    rows, classes = np.arange(len(z)), z.shape[1]
    if name == "cross_entropy":
        if classes == 1:
            t = y.astype(np.float64).reshape(-1, 1)
            return (t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z))[:, 0]
        if y.ndim == 2:
            return (y * (_log_sum_exp(z)[:, None] - z)).sum(axis=1)
        return np.logaddexp(0.0, _log_sum_exp(_others(z, y)) - z[rows, y])
    if name == "margin":
        if classes == 1:
            return (-_signs(y) * z)[:, 0]
        return _others(z, y).max(axis=1) - z[rows, y]
    if name == "squared_error":
        return ((z - _targets(y, classes)) ** 2).sum(axis=1)
    if name == "confidence":
        t = _confidence_targets(y, classes)
        return -(t * z + (1 - t) * np.log(-np.expm1(np.minimum(z, -U)))).sum(axis=1)
    if name == "hinge":
        return np.maximum(0.0, 1.0 - _sides(y, classes) * z).sum(axis=1)
    if name == "crammer_singer":
        return np.maximum(0.0, 1.0 + loss("margin", z, y))
    if name == "logit":
        return (-_signs(y) * z)[:, 0] if classes == 1 else -z[rows, y]
    if name == "dlr":
        return loss("margin", z, y) / _spread(z)
    raise ValueError(f"unknown loss {name!r}")


def _spread(z: Array) -> Array:
    """The largest logit of each row minus the third largest."""
    top = np.sort(z, axis=1)
    return top[:, -1] - top[:, -3]


def _confidence_targets(y: NDArray, classes: int) -> Array:
    return y.astype(np.float64) if y.ndim == 2 else (np.arange(classes) == y[:, None]).astype(np.float64)


def _targets(y: NDArray, classes: int) -> Array:
    if y.ndim == 2:
        return y.astype(np.float64)
    return _signs(y) if classes == 1 else _one_hot(y, classes)


def _sides(y: NDArray, classes: int) -> Array:
    """+1 for the label and -1 for every other class, (N, K)."""
    return _signs(y) if classes == 1 else 2.0 * _one_hot(y, classes) - 1.0


def loss_gradient(name: str, z: Array, y: NDArray) -> Array:
    """Derivative of each row's loss with respect to its logits, (N, K)."""
    y = np.asarray(y)
    rows, classes = np.arange(len(z)), z.shape[1]
    if name == "cross_entropy":
        if classes == 1 and y.ndim == 1:
            s = _signs(y)
            return -s * sigmoid(-s * z)
        if classes == 1:
            return sigmoid(z) - y
        p = np.exp(z - _log_sum_exp(z)[:, None])
        if y.ndim == 2:
            return p * y.sum(axis=1, keepdims=True) - y
        p[rows, y] = 0.0
        p[rows, y] = -p.sum(axis=1)
        return p
    if name == "margin":
        if classes == 1:
            return -_signs(y) * np.ones_like(z)
        return _one_hot(_others(z, y).argmax(axis=1), classes) - _one_hot(y, classes)
    if name == "squared_error":
        return 2.0 * (z - _targets(y, classes))
    if name == "confidence":
        t = _confidence_targets(y, classes)
        return (1 - t) / np.expm1(-np.minimum(z, -U)) - t
    if name == "hinge":
        s = _sides(y, classes)
        return -s * (1.0 - s * z > 0)  # 0 at the kink, as in the engine
    if name == "crammer_singer":
        return loss_gradient("margin", z, y) * (1.0 + loss("margin", z, y) > 0)[:, None]
    if name == "logit":
        return -(_signs(y) * np.ones_like(z) if classes == 1 else _one_hot(y, classes))
    if name == "dlr":
        order, spread = np.argsort(-z, axis=1, kind="stable"), _spread(z)[:, None]
        of_spread = _one_hot(order[:, 0], classes) - _one_hot(order[:, 2], classes)
        return (loss_gradient("margin", z, y) - loss("dlr", z, y)[:, None] * of_spread) / spread
    raise ValueError(f"unknown loss {name!r}")


def loss_rounding(name: str, z: Array, dz: Array, y: NDArray) -> Array:
    """Bound (N,) on the float32 error of the loss, given the bound `dz` on the logits."""
    spread = np.abs(z).max(axis=1) + 1.0
    worst = dz.max(axis=1)
    if name == "squared_error":
        residual = np.abs(z - _targets(np.asarray(y), z.shape[1]))
        each = 2 * residual * dz + dz**2 + (z.shape[1] + 4) * U * residual * (residual + np.abs(z))
        return each.sum(axis=1) + TINY
    if name == "confidence":
        t, near = _confidence_targets(np.asarray(y), z.shape[1]), np.minimum(z + dz, -U)
        terms = t * np.abs(z) + (1 - t) * np.abs(np.log(-np.expm1(np.minimum(z, -U)))) + 1.0
        return ((t + (1 - t) / np.expm1(-near)) * dz + ELEMENTARY * terms).sum(axis=1) * 2
    if name == "dlr":  # a quotient of two differences of logits
        least = _spread(z) - 2 * worst
        return (2 * worst + 8 * U * spread) * (1 + np.abs(loss(name, z, y))) / least
    # Cross-entropy and margin change by at most 2 max|dz|; then a handful of elementary operations.
    if name == "hinge":  # every class adds its own error, and rounds as the sum grows
        return dz.sum(axis=1) + (z.shape[1] + 4) * U * (1.0 + np.abs(z)).sum(axis=1)
    # Cross-entropy, margin and its hinge change by at most 2 max|dz|; then a handful of elementary operations.
    return 2 * worst + (z.shape[1] + 4) * ELEMENTARY * spread


def rows_on_a_loss_kink(name: str, z: Array, dz: Array, y: NDArray) -> NDArray[np.bool_]:
    """Rows (N,) where float32 may take the other side of a kink of the loss than float64 does."""
    worst = dz.max(axis=1)
    bad = np.zeros(len(z), bool)
    if name == "dlr":
        top = np.sort(z, axis=1)
        bad |= (np.diff(top[:, -4:], axis=1) <= 2 * worst[:, None]).any(axis=1)
        bad |= (np.abs(_others(z, y).max(axis=1) - z[np.arange(len(z)), y]) <= 2 * worst) | (_spread(z) <= 8 * worst)
    if name in ("margin", "crammer_singer") and z.shape[1] > 2:
        top = np.sort(_others(z, y), axis=1)
        bad |= top[:, -1] - top[:, -2] <= 2 * worst
    if name == "crammer_singer":
        bad |= np.abs(1.0 + loss("margin", z, y)) <= 2 * worst + 4 * U * (1.0 + np.abs(z).max(axis=1))
    if name == "hinge":
        bad |= (np.abs(1.0 - _sides(y, z.shape[1]) * z) <= dz + 4 * U * (1.0 + np.abs(z))).any(axis=1)
    return bad


def loss_gradient_rounding(name: str, z: Array, dz: Array, y: NDArray) -> Array:
    """Bound (N, K) on the float32 error of `loss_gradient`, given the bound `dz` on the logits."""
    y = np.asarray(y)
    if name in PIECEWISE_LINEAR:
        return np.zeros_like(z)
    if name == "squared_error":
        return 2 * dz + 4 * U * (np.abs(z) + 1.0)
    if name == "confidence":
        t, near = _confidence_targets(y, z.shape[1]), np.minimum(z + dz, -U)
        odds = (1 - t) / np.expm1(-near)
        return odds * (1 + 1 / -np.expm1(near)) * dz + 2 * ELEMENTARY * (odds + t) + TINY
    if name == "dlr":  # each term is at most (1 + |dlr|) / spread
        worst, spread = dz.max(axis=1, keepdims=True), _spread(z)[:, None]
        terms = (1 + np.abs(loss(name, z, y)))[:, None] / (spread - 2 * worst)
        relative = 6 * worst / (spread - 2 * worst) + 8 * U * (1 + np.abs(z).max(axis=1, keepdims=True) / spread)
        return terms * relative + np.zeros_like(z)
    # A probability has relative error exp(2 max|dz|) - 1, plus the error of exp, whose argument is
    # itself a rounded difference of two logits.
    spread = z.max(axis=1, keepdims=True) - z.min(axis=1, keepdims=True) + np.abs(z)
    worst = dz.max(axis=1, keepdims=True)
    relative = np.expm1(2 * worst) + (z.shape[1] + 4) * ELEMENTARY + 2 * U * spread.max(axis=1, keepdims=True)
    if y.ndim == 2:
        return relative * (np.abs(loss_gradient(name, z, y)) + 2 * y) + 4 * U
    return relative * np.abs(loss_gradient(name, z, y)) + TINY


# ---- models


def gamma(n: int) -> float:
    """Relative error of a float32 sum of n products, in any order (Higham's gamma_n)."""
    return (n + 2) * U / (1.0 - (n + 2) * U)


@dataclass
class Forward:
    """One forward pass: inputs and pre-activations of each layer, with their float32 error bounds."""

    inputs: list[Array]
    input_errors: list[Array]
    before: list[Array]
    before_errors: list[Array]

    @property
    def logits(self) -> Array:
        return self.before[-1]

    @property
    def logit_errors(self) -> Array:
        return self.before_errors[-1]


@dataclass
class Net:
    """Linear layers with one activation between them; a single layer is a linear model.

    Weights are (out, in) and hold float32 values, so that the engine computes with the same numbers.
    """

    weights: list[Array]
    biases: list[Array]
    activation: str = "relu"

    @property
    def features(self) -> int:
        return self.weights[0].shape[1]

    @property
    def classes(self) -> int:
        return self.weights[-1].shape[0]

    def parameters(self) -> list[NDArray[np.float32]]:
        """Weight, bias, weight, bias, ... as float32: the order of `model.parameters()`."""
        pairs = zip(self.weights, self.biases, strict=True)
        return [p.astype(np.float32) for pair in pairs for p in pair]

    def forward(self, x: ArrayLike) -> Forward:
        """Logits with everything on the way, and the running error bound of a float32 pass."""
        h = np.asarray(x, np.float64)
        h = h.reshape(len(h), self.features)
        dh = np.zeros_like(h)
        inputs, input_errors, before, before_errors = [], [], [], []
        for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            inputs.append(h)
            input_errors.append(dh)
            a = h @ w.T + b
            g = gamma(w.shape[1])
            da = (1 + g) * (dh @ np.abs(w).T) + g * (np.abs(h) @ np.abs(w).T + np.abs(b))
            before.append(a)
            before_errors.append(da)
            if layer < len(self.weights) - 1:
                h = activate(self.activation, a)
                steepest = 2 * np.abs(a) + da if self.activation == "quadratic" else 1.13
                rounding = ELEMENTARY * np.maximum(np.abs(h), 1.0)
                dh = steepest * da + (0.0 if self.activation in KINKED[:1] else rounding)
        return Forward(inputs, input_errors, before, before_errors)

    def __call__(self, x: ArrayLike) -> Array:
        return self.forward(x).logits

    def predict(self, x: ArrayLike) -> NDArray[np.int64]:
        z = self(x)
        return (z[:, 0] > 0).astype(np.int64) if self.classes == 1 else z.argmax(axis=1)

    def loss(self, x: ArrayLike, y: NDArray, loss_name: str = "cross_entropy") -> Array:
        return loss(loss_name, self(x), y)

    def backward(self, run: Forward, g: Array, dg: Array | None = None) -> Backward:
        """Input and parameter gradients of sum(g * logits), with float32 error bounds."""
        dg = np.zeros_like(g) if dg is None else dg
        weight_grads: list[Array] = []
        weight_errors: list[Array] = []
        bias_grads: list[Array] = []
        bias_errors: list[Array] = []
        for layer in reversed(range(len(self.weights))):
            w = self.weights[layer]
            h, dh = run.inputs[layer], run.input_errors[layer]
            many = gamma(len(g))
            weight_grads.insert(0, g.T @ h)
            weight_errors.insert(0, dg.T @ (np.abs(h) + dh) + np.abs(g).T @ dh + many * (np.abs(g).T @ np.abs(h)))
            bias_grads.insert(0, g.sum(axis=0))
            bias_errors.insert(0, dg.sum(axis=0) + many * np.abs(g).sum(axis=0))
            c = gamma(w.shape[0])
            dg = (1 + c) * (dg @ np.abs(w)) + c * (np.abs(g) @ np.abs(w)) + TINY
            g = g @ w
            if layer > 0:
                a, da = run.before[layer - 1], run.before_errors[layer - 1]
                s = slope(self.activation, a)
                ds = CURVATURE[self.activation] * da
                if self.activation != "relu":
                    ds = ds + ELEMENTARY * np.maximum(np.abs(s), 1.0)
                dg = dg * (np.abs(s) + ds) + np.abs(g) * ds + 2 * U * np.abs(g * s)
                g = g * s
        return Backward(g, dg, weight_grads, weight_errors, bias_grads, bias_errors)

    def gradient(self, x: ArrayLike, y: NDArray, loss_name: str = "cross_entropy") -> Backward:
        """Gradients of the rows' losses: input (N, features) per row, parameters summed over rows."""
        run = self.forward(x)
        g = loss_gradient(loss_name, run.logits, y)
        return self.backward(run, g, loss_gradient_rounding(loss_name, run.logits, run.logit_errors, y))

    def input_gradient(self, x: ArrayLike, y: NDArray, loss_name: str = "cross_entropy") -> Array:
        return self.gradient(x, y, loss_name).inputs

    def jacobian(self, x: ArrayLike) -> tuple[Array, Array]:
        """d logits / d input, (N, K, features), and its float32 error bound."""
        run = self.forward(x)
        rows = len(run.logits)
        out, err = [], []
        for k in range(self.classes):
            back = self.backward(run, np.tile(np.eye(self.classes)[k], (rows, 1)))
            out.append(back.inputs)
            err.append(back.input_errors)
        return np.stack(out, axis=1), np.stack(err, axis=1)

    def rows_on_a_kink(self, x: ArrayLike) -> NDArray[np.bool_]:
        """Rows where float32 may take the other side of a kink than float64 does."""
        run = self.forward(x)
        bad = np.zeros(len(run.logits), bool)
        if self.activation in KINKED:
            for a, da in zip(run.before[:-1], run.before_errors[:-1], strict=True):
                bad |= (np.abs(a) <= da).any(axis=1)
        return bad

    def same_branches(self, one: Forward, other: Forward) -> NDArray[np.bool_]:
        """Rows that are on the same side of every kink in both passes."""
        same = np.ones(len(one.logits), bool)
        if self.activation in KINKED:
            for a, b in zip(one.before[:-1], other.before[:-1], strict=True):
                same &= (np.sign(a) == np.sign(b)).all(axis=1)
        return same


@dataclass
class Backward:
    """Gradients and their float32 error bounds."""

    inputs: Array
    input_errors: Array
    weights: list[Array]
    weight_errors: list[Array]
    biases: list[Array]
    bias_errors: list[Array]

    def parameters(self) -> list[tuple[Array, Array]]:
        """(gradient, bound) in the order of `model.parameters()`."""
        out: list[tuple[Array, Array]] = []
        for w, dw, b, db in zip(self.weights, self.weight_errors, self.biases, self.bias_errors, strict=True):
            out += [(w, dw), (b, db)]
        return out


def random_net(sizes: list[int], activation: str = "relu", seed: int = 0, scale: float = 1.0) -> Net:
    """A net with normal weights of variance scale^2 / fan-in, and small biases, all float32 values."""
    rng = np.random.default_rng([seed, *sizes])
    weights, biases = [], []
    for fan_in, fan_out in pairwise(sizes):
        w = rng.normal(0.0, scale / math.sqrt(fan_in), (fan_out, fan_in))
        weights.append(w.astype(np.float32).astype(np.float64))
        biases.append(rng.normal(0.0, 0.1, fan_out).astype(np.float32).astype(np.float64))
    return Net(weights, biases, activation)


# ---- projections of one row's perturbation d (or point v) in float64


def project_l2(d: Array, eps: float) -> Array:
    """Nearest point of the L2 ball."""
    norm = math.sqrt(math.fsum(d * d))
    return d if norm <= eps else d * (eps / norm)


def project_l1(d: Array, eps: float) -> Array:
    """Nearest point of the L1 ball (Duchi et al. 2008)."""
    if np.abs(d).sum() <= eps:
        return d
    u = np.sort(np.abs(d))[::-1]
    excess = np.cumsum(u) - eps
    ranks = np.arange(1, len(u) + 1)
    last = np.flatnonzero(u * ranks > excess)[-1] if eps > 0 else 0
    threshold = excess[last] / ranks[last]
    return np.sign(d) * np.maximum(np.abs(d) - threshold, 0.0)


def project_l1_box(v: Array, x: Array, eps: float, lo: ArrayLike, hi: ArrayLike) -> Array:
    """Nearest point to v of the L1 ball around x cut with the box (Croce and Hein, 2103.01208)."""
    direction = np.sign(v - x)
    room = np.where(direction > 0, np.asarray(hi) - x, x - np.asarray(lo))
    wish = np.abs(v - x)

    def moved(threshold: float) -> Array:
        return np.clip(wish - threshold, 0.0, room)

    below, above = 0.0, float(wish.max(initial=0.0))
    if moved(0.0).sum() <= eps:
        return x + direction * moved(0.0)
    for _ in range(100):
        middle = 0.5 * (below + above)
        below, above = (middle, above) if moved(middle).sum() > eps else (below, middle)
    return x + direction * moved(above)


def project_l0(d: Array, count: int) -> Array:
    """Keep the `count` largest magnitudes (ties: the first)."""
    keep = np.argsort(-np.abs(d), kind="stable")[:count]
    out = np.zeros_like(d)
    out[keep] = d[keep]
    return out


def project(v: Array, x: Array, eps: float, norm: str, bounds: Bounds) -> Array:
    """A point of ball and box as the engine finds it: L2 projects and then clips, L1 is exact."""
    lo, hi = _box(bounds)
    if norm == "linf":
        return np.clip(np.clip(v, x - eps, x + eps), lo, hi)
    if norm == "l2":
        return np.clip(x + project_l2(v - x, eps), lo, hi)
    if norm == "l1":
        return project_l1_box(v, x, eps, lo, hi)
    raise ValueError(f"unknown norm {norm!r}")


# ---- steps and attacks

Bounds = tuple[ArrayLike, ArrayLike] | None


def _box(bounds: Bounds) -> tuple[ArrayLike, ArrayLike]:
    return (-np.inf, np.inf) if bounds is None else bounds


def steepest(g: Array, at: Array, size: float, norm: str, bounds: Bounds) -> Array:
    """The d with ||d|| <= size that maximises g.d; L1 fills each coordinate's room in the box."""
    if norm == "linf":
        return size * np.sign(g)
    largest = np.abs(g).max(initial=0.0)
    if largest == 0.0:
        return np.zeros_like(g)
    if norm == "l2":
        unit = g / largest
        return size * unit / math.sqrt(math.fsum(unit * unit))
    if norm == "l1":
        lo, hi = _box(bounds)
        room = np.where(g > 0, np.asarray(hi) - at, at - np.asarray(lo))
        room = np.minimum(room, size) * (g != 0)
        order = np.argsort(-np.abs(g), kind="stable")
        spent = np.cumsum(room[order]) - room[order]  # by the coordinates before this one
        d = np.zeros_like(g)
        d[order] = np.clip(size - spent, 0.0, room[order])
        return np.sign(g) * d
    raise ValueError(f"unknown norm {norm!r}")


def _each(value: ArrayLike, rows: int) -> Array:
    return np.broadcast_to(np.asarray(value, np.float64), (rows,))


def fgsm(
    net: Net,
    x: ArrayLike,
    y: NDArray,
    eps: ArrayLike,
    norm: str = "linf",
    targeted: bool = False,
    loss_name: str = "cross_entropy",
    bounds: Bounds = (0.0, 1.0),
    mask: NDArray | None = None,
) -> Array:
    """One steepest step of length eps, cut to the box."""
    x = np.asarray(x, np.float64)
    g = net.input_gradient(x, y, loss_name) * (-1.0 if targeted else 1.0)
    if mask is not None:
        g = g * mask
    out = np.empty_like(x)
    for i, e in enumerate(_each(eps, len(x))):
        out[i] = project(x[i] + steepest(g[i], x[i], e, norm, bounds), x[i], e, norm, bounds)
    return out


@dataclass
class PgdResult:
    """What `pgd` found. Shapes (N,) and, for iterates, (N, steps + 1)."""

    x_adv: Array  # the best point
    loss: Array  # its loss
    success: NDArray[np.bool_]
    trace: Array  # loss of every iterate
    fooled: NDArray[np.bool_]  # whether each iterate is misclassified (targeted: hits the target)
    decided: NDArray[np.bool_]  # rows whose discrete choices float32 makes as float64 does
    unique: NDArray[np.bool_]  # rows whose best point has no rival that float32 may rank above it


def _step_is_decided(g: Array, dg: Array, d: Array, norm: str) -> bool:
    """Whether float32 errors `dg` leave the signs (linf) or the order (l1) of the step `d` as they are."""
    if norm == "linf":
        return bool((np.abs(g) > dg)[g != 0].all())
    if norm == "l1":
        order = np.argsort(-np.abs(g), kind="stable")
        top = np.abs(g)[order[: np.count_nonzero(d) + 1]]
        return bool((np.diff(top) < -2 * dg.max()).all() and top[0] > dg.max())
    return True


def pgd(
    net: Net,
    x: ArrayLike,
    y: NDArray,
    eps: ArrayLike,
    norm: str = "linf",
    steps: int = 40,
    step_size: float | None = None,
    targeted: bool = False,
    loss_name: str = "cross_entropy",
    bounds: Bounds = (0.0, 1.0),
    mask: NDArray | None = None,
) -> PgdResult:
    """Projected gradient from x itself; the best iterate is misclassified first, then of highest loss."""
    x = np.asarray(x, np.float64)
    rows = len(x)
    each = np.arange(rows)
    radius = _each(eps, rows)
    sign = -1.0 if targeted else 1.0
    current = x.copy()
    decided = np.ones(rows, bool)
    points, losses, errors, fooled = [], [], [], []
    for step in range(steps + 1):
        run = net.forward(current)
        z, dz = run.logits, run.logit_errors
        points.append(current.copy())
        losses.append(loss(loss_name, z, y))
        errors.append(loss_rounding(loss_name, z, dz, y))
        fooled.append((net.predict(current) == y) if targeted else (net.predict(current) != y))
        top = np.sort(z, axis=1)
        lead = np.abs(z[:, 0]) if net.classes == 1 else top[:, -1] - top[:, -2]
        decided &= (lead > 2 * dz.max(axis=1)) & ~net.rows_on_a_kink(current)
        if step == steps:
            break
        back = net.gradient(current, y, loss_name)
        g = sign * back.inputs
        if mask is not None:
            g = g * mask
        for i in range(rows):
            size = 2.5 * radius[i] / steps if step_size is None else step_size
            d = steepest(g[i], current[i], size, norm, bounds)
            decided[i] &= _step_is_decided(g[i], back.input_errors[i], d, norm)
            current[i] = project(current[i] + d, x[i], radius[i], norm, bounds)
    trace, hit = np.stack(losses, axis=1), np.stack(fooled, axis=1)
    score = np.where(hit == hit.any(axis=1, keepdims=True), sign * trace, -np.inf)
    best = score.argmax(axis=1)
    stacked = np.stack(points, axis=1)
    x_adv = stacked[each, best]
    # Iterates that float32 may rank above the best one must be the same point, as after convergence.
    rivals = score >= score.max(axis=1, keepdims=True) - 2 * np.stack(errors, axis=1)
    apart = np.abs(stacked - x_adv[:, None]).max(axis=2) > 1e-6
    unique = ~(rivals & apart).any(axis=1)
    return PgdResult(x_adv, trace[each, best], hit.any(axis=1), trace, hit, decided, unique)


# ---- linear models: the exact worst case


def worst_step(w: Array, x: Array, eps: float, norm: str, bounds: Bounds) -> Array:
    """The d with ||d|| <= eps, x + d in the box, that maximises w.d exactly."""
    lo, hi = _box(bounds)
    room = np.where(w > 0, np.asarray(hi) - x, x - np.asarray(lo)) * (w != 0)
    if norm == "linf":
        return np.sign(w) * np.minimum(room, eps)
    if norm == "l1":
        return steepest(w, x, eps, "l1", bounds)
    if norm == "l2":
        if not w.any() or eps == 0:
            return np.zeros_like(w)
        unit = np.abs(w) / np.abs(w).max()

        def moved(multiplier: float) -> Array:
            return np.minimum(multiplier * unit, room)

        above = eps
        while np.linalg.norm(moved(above)) < eps:
            if np.array_equal(moved(above), moved(2 * above)):
                return np.sign(w) * moved(above)  # the box stops every coordinate first
            above *= 2
        below = 0.0
        for _ in range(100):
            middle = 0.5 * (below + above)
            below, above = (middle, above) if np.linalg.norm(moved(middle)) < eps else (below, middle)
        return np.sign(w) * moved(above)
    raise ValueError(f"unknown norm {norm!r}")


def worst_margin(net: Net, x: ArrayLike, y: NDArray[np.int64], eps: float, norm: str, bounds: Bounds) -> Array:
    """Largest reachable max_{j != y} z_j - z_y (one logit: -(2y-1) z) of each row of a linear model."""
    x = np.asarray(x, np.float64)
    w, z = net.weights[0], net(x)
    out = np.full(len(x), -np.inf)
    for i, label in enumerate(y):
        if net.classes == 1:
            s = 2.0 * label - 1.0
            out[i] = -s * z[i, 0] + (-s * w[0]) @ worst_step(-s * w[0], x[i], eps, norm, bounds)
            continue
        for j in range(net.classes):
            if j != label:
                v = w[j] - w[label]
                reach = z[i, j] - z[i, label] + v @ worst_step(v, x[i], eps, norm, bounds)
                out[i] = max(out[i], reach)
    return out


def distance(x_adv: ArrayLike, x: ArrayLike, norm: str) -> Array:
    """Norm of each row's perturbation in float64, summed exactly."""
    a, b = np.asarray(x_adv, np.float64), np.asarray(x, np.float64)
    d = (a - b).reshape(len(a), -1)
    if norm == "linf":
        return np.abs(d).max(axis=1, initial=0.0)
    if norm == "l2":
        return np.array([math.sqrt(math.fsum(r * r)) for r in d])
    if norm == "l1":
        return np.array([math.fsum(np.abs(r)) for r in d])
    if norm == "l0":
        return np.count_nonzero(d, axis=1).astype(np.float64)
    raise ValueError(f"unknown norm {norm!r}")
