"""The oracle of the other layers is right itself: its gradients are derivatives, its rounding bounds are tight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import oracle
from cases import batch, labels
from oracle_layers import Elementwise, OneVsOne, Stack, gaussian_net, linear, maxout_net, rbf_classifier


def votes(name: str, degree: int = 0) -> Stack:
    """Features, a bend, decisions of the six pairs of four classes, scores."""
    rng = np.random.default_rng(degree)
    return Stack([linear(rng, 5, 7), Elementwise(name, degree), linear(rng, 7, 6), OneVsOne(4)], 5)


NETS: dict[str, tuple[Stack, str]] = {
    "rbf, one scale": (rbf_classifier(5, 3, diagonal=False), "confidence"),
    "rbf, diagonal": (rbf_classifier(5, 3), "confidence"),
    "gaussian": (gaussian_net((5, 7, 3)), "cross_entropy"),
    "maxout": (maxout_net([5, 7, 6, 3], 3), "cross_entropy"),
    "votes of tanh": (votes("tanh"), "cross_entropy"),
    "votes of cubes": (votes("power", 3), "squared_error"),
}


def slope(f: Any, at: np.ndarray, i: tuple[int, ...], h: float = 1e-6) -> float:
    up, down = at.copy(), at.copy()
    up[i] += h
    down[i] -= h
    return (f(up) - f(down)) / (2 * h)


@pytest.mark.parametrize("case", NETS.values(), ids=NETS.keys())
def test_gradients_are_the_derivatives(case: tuple[Stack, str]) -> None:
    net, loss = case
    x, y = batch(4, 5).astype(np.float64), labels(4, net.classes)
    back = net.gradient(x, y, loss)
    for i in np.ndindex(x.shape):
        wanted = slope(lambda v, i=i: oracle.loss(loss, net(v[i[0]][None]), y[i[0]][None])[0], x, i)
        assert back.inputs[i] == pytest.approx(wanted, abs=1e-6)
    jacobian = net.jacobian(x)[0]
    for i in np.ndindex(x.shape):
        for k in range(net.classes):
            wanted = slope(lambda v, i=i, k=k: net(v[i[0]][None])[0, k], x, i)
            assert jacobian[i[0], k, i[1]] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("case", NETS.values(), ids=NETS.keys())
def test_parameter_gradients_are_the_derivatives(case: tuple[Stack, str]) -> None:
    net, loss = case
    x, y = batch(4, 5).astype(np.float64), labels(4, net.classes)
    gradients = iter(net.gradient(x, y, loss).parameters())
    for layer in net.layers:
        for p, original in enumerate(layer.values):
            got, _ = next(gradients)

            def total(v: np.ndarray, layer: Any = layer, p: int = p, original: np.ndarray = original) -> float:
                kept = layer.values
                layer.values = tuple(v if k == p else old for k, old in enumerate(kept))
                result = net.loss(x, y, loss).sum()
                layer.values = kept
                return result

            for i in np.ndindex(original.shape):
                assert got[i] == pytest.approx(slope(total, original, i), abs=1e-5)
    assert next(gradients, None) is None


@pytest.mark.parametrize("case", NETS.values(), ids=NETS.keys())
def test_rounding_bounds_are_not_vacuous(case: tuple[Stack, str]) -> None:
    net, loss = case
    x, y = batch(30, 5), labels(30, net.classes)
    run, back = net.forward(x), net.gradient(x, y, loss)
    pairs = [(run.logits, run.logit_errors), (back.inputs, back.input_errors), *back.parameters()]
    for value, bound in pairs:
        assert (bound >= 0).all()
        assert 0 < bound.max() < 2e-3 * np.abs(value).max()  # a wrong term shows
