"""Small seeded models and batches, each as an engine model and as its oracle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import epsball as eb
import oracle
from oracle import Net, random_net
from oracle_images import Stack

Case = TypeVar("Case")
SIZES = (1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 63, 65, 97)
LOSSES = ("cross_entropy", "margin", "squared_error", "hinge", "crammer_singer")

LAYERS = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softplus": "Softplus",
    "gelu": "GELU",
    "quadratic": "Quadratic",
}


def sized(whole: Case, *, on_emulator: Case) -> Case:
    """How large or how many cases are: the emulated GPU, which takes some thousand times as long, gets fewer."""
    return on_emulator if eb._native.table() == "cuda-emulated" else whole


def use_threads(threads: int) -> None:
    """Let `threads` threads share all work until the test ends, however little there is."""
    eb._native.set_share_all(True)
    eb._native.set_threads(threads)


def engine(net: Net) -> Any:
    """The engine's model of an oracle net, with the same float32 parameters."""
    layers: list[Any] = []
    for layer, w in enumerate(net.weights):
        if layer:
            layers.append(getattr(eb, LAYERS[net.activation])())
        layers.append(eb.Linear(w.shape[1], w.shape[0]))
    model = eb.Sequential(layers, input_shape=(net.features,))
    model.load_parameters(dict(zip(model.parameters(), net.parameters(), strict=True)))
    return model


def pair(sizes: list[int], activation: str = "relu", seed: int = 0, scale: float = 1.0) -> tuple[Any, Net]:
    """(engine model, oracle net) with the layer sizes given; two sizes make a linear model."""
    net = random_net(sizes, activation, seed, scale)
    return engine(net), net


def threshold(x: NDArray) -> NDArray[np.int64]:
    """The labels of a black box; a spawned process, which has no test module, imports it from here."""
    return (x[:, 0] > 0.5).astype(np.int64)


def constant_model(features: int, classes: int) -> Any:
    """A model whose logits do not depend on the input: every gradient is exactly zero."""
    model = eb.models.linear(features, classes)
    zeros = {n: np.zeros_like(p) for n, p in model.parameters().items()}
    model.load_parameters(zeros)
    return model


def batch(rows: int, features: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> NDArray[np.float32]:
    """Uniform rows in [low, high]; a few values lie exactly on the bounds, as in real images."""
    rng = np.random.default_rng([seed, rows, features])
    x = rng.uniform(low, high, (rows, features)).astype(np.float32)
    x = np.clip(x, np.float32(low), np.float32(high))
    edge = rng.random(x.shape)
    x[edge < 0.1] = low
    x[edge > 0.9] = high
    return x


def labels(rows: int, classes: int, seed: int = 0) -> NDArray[np.int64]:
    """Random class indices; 0 / 1 for a one-logit model."""
    return np.random.default_rng([seed, rows, classes]).integers(0, max(classes, 2), rows)


def soft_labels(rows: int, classes: int, seed: int = 0) -> NDArray[np.float32]:
    """Random probabilities (N, K) with rows that sum to 1 as float32 allows."""
    p = np.random.default_rng([seed, rows, classes]).dirichlet(np.ones(classes), rows)
    return p.astype(np.float32)


# ---- comparisons with the oracle


def assert_within(actual: Any, wanted: NDArray, bound: NDArray, what: str) -> None:
    """Every |actual - wanted| is at most its own bound; NaN fails."""
    actual = np.asarray(actual, np.float64).reshape(wanted.shape)
    excess = np.abs(actual - wanted) / bound
    assert (excess <= 1.0).all(), f"{what}: {np.nanmax(excess):.3g} times the rounding bound"


def smooth_rows(net: Net | Stack, x: NDArray, y: NDArray, loss: str) -> NDArray[np.bool_]:
    """Rows where the loss is differentiable and float32 takes the same branches as float64."""
    run = net.forward(x)
    return ~net.rows_on_a_kink(x) & ~oracle.rows_on_a_loss_kink(loss, run.logits, run.logit_errors, y)


def check_loss(model: Any, net: Net | Stack, x: NDArray, y: NDArray, loss: str) -> None:
    """Loss, input gradient and parameter gradients of the engine are those of the oracle."""
    ok = smooth_rows(net, x, y, loss)
    assert ok.any(), "every row lies on a kink: the test would compare nothing"
    x, y = x[ok], y[ok]
    run = net.forward(x)
    bound = oracle.loss_rounding(loss, run.logits, run.logit_errors, y)
    assert_within(model.loss(x, y, loss=loss), oracle.loss(loss, run.logits, y), bound, "loss")
    back = net.gradient(x, y, loss)
    gradient = model.input_gradient(x, y, loss=loss)
    assert gradient.shape == x.shape
    assert_within(gradient, back.inputs, back.input_errors + oracle.TINY, "input gradient")
    # Parameter gradients are those of the mean loss over the rows, as training uses them.
    ours = model.parameter_gradients(x, y, loss=loss)
    assert list(ours) == list(model.parameters())
    for (name, g), (wanted, error) in zip(ours.items(), back.parameters(), strict=True):
        assert g.shape == wanted.shape
        rounding = error + 2 * oracle.U * np.abs(wanted) + oracle.TINY
        assert_within(g, wanted / len(x), rounding / len(x), f"gradient of {name}")


def check_central_differences(model: Any, net: Net | Stack, x: NDArray, y: NDArray, loss: str) -> None:
    """The engine's gradient is the slope of the engine's own loss.

    The tolerance is the rounding of two losses over the step, plus the truncation of the central
    difference, which the oracle knows exactly. Coordinates with a kink inside the step are skipped.
    """
    h = 2.0**-5
    ok = smooth_rows(net, x, y, loss)
    x, y = x[ok], y[ok]
    back = net.gradient(x, y, loss)
    gradient = np.asarray(model.input_gradient(x, y, loss=loss), np.float64)
    compared = 0
    for i in range(x.shape[1]):
        up, down = x.copy(), x.copy()
        up[:, i] += np.float32(h)
        down[:, i] -= np.float32(h)
        width = up[:, i].astype(np.float64) - down[:, i]
        high, low = net.forward(up), net.forward(down)
        same = net.same_branches(high, low)
        if loss in oracle.PIECEWISE_LINEAR:
            pieces = [oracle.loss_gradient(loss, r.logits, y) for r in (high, low)]
            same &= (pieces[0] == pieces[1]).all(axis=1)
        exact = (oracle.loss(loss, high.logits, y) - oracle.loss(loss, low.logits, y)) / width
        truncation = np.abs(exact - back.inputs[:, i])
        rounding = oracle.loss_rounding(loss, high.logits, high.logit_errors, y)
        rounding = (rounding + oracle.loss_rounding(loss, low.logits, low.logit_errors, y)) / width
        slope = np.asarray(model.loss(up, y, loss=loss), np.float64)
        slope = (slope - np.asarray(model.loss(down, y, loss=loss), np.float64)) / width
        bound = rounding + truncation + back.input_errors[:, i]
        assert (np.abs(gradient[:, i] - slope)[same] <= bound[same]).all()
        compared += int(same.sum())
    assert compared >= x.size // 2, "most coordinates were skipped"


# ---- models with layers of images


def image_model(layers: list[Any], shape: tuple[int, ...], seed: int = 0) -> tuple[Any, Stack]:
    """(engine model, oracle) of these layers, every parameter drawn anew: none is 0 or 1, variances are positive."""
    model = eb.Sequential(layers, input_shape=shape)
    rng = np.random.default_rng([seed, len(layers), *shape])
    values = {}
    for name, p in model.parameters().items():
        kind = name.split(".")[-1]
        if kind == "running_var":
            values[name] = rng.uniform(0.5, 2.0, p.shape)
        elif kind == "weight" and p.ndim > 1:
            values[name] = rng.normal(0.0, 1.5 / math.sqrt(p[0].size), p.shape)
        else:
            values[name] = rng.normal(1.0 if kind == "weight" else 0.0, 0.2, p.shape)
    model.load_parameters(values)
    return model, Stack(model)


def check_image_model(layers: list[Any], shape: tuple[int, ...], rows: int = 9, loss: str = "cross_entropy") -> None:
    """Logits, Jacobian, losses and all gradients are the oracle's, and a row alone has the same bits."""
    model, net = image_model(layers, shape)
    assert model.classes == net.classes
    x, y = batch(rows, net.features, low=-1.0), labels(rows, net.classes)
    run = net.forward(x)
    assert_within(model(x), run.logits, run.logit_errors + oracle.TINY, "logits")
    ok = ~net.rows_on_a_kink(x)
    wanted, error = net.jacobian(x)
    assert_within(model.jacobian(x)[ok], wanted[ok], error[ok] + oracle.TINY, "Jacobian")
    check_loss(model, net, x, y, loss)
    assert_same_in_any_batch(model, x, y, loss)


def assert_same_in_any_batch(model: Any, x: NDArray, y: NDArray, loss: str, sizes: Sequence[int] = (1,)) -> None:
    """The first rows of a batch have the same bits when they come alone."""
    whole = model(x), model.jacobian(x), model.input_gradient(x, y, loss=loss)
    for n in sizes:
        some = model(x[:n]), model.jacobian(x[:n]), model.input_gradient(x[:n], y[:n], loss=loss)
        for got, wanted in zip(some, whole, strict=True):
            np.testing.assert_array_equal(got, wanted[:n])
