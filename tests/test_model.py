"""Parameters go in and out whole, whatever other threads do at the time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels

X, Y = batch(4, 400), labels(4, 3)
Make = Callable[[int], eb.Sequential]
Read = Callable[[eb.Sequential], list[np.ndarray]]


def linear(seed: int) -> eb.Sequential:
    return eb.models.linear(400, 3, seed=seed)


def chain(*layers: Any) -> Make:
    return lambda seed: eb.Sequential([*layers], input_shape=(400,), seed=seed)


def scaled_means(seed: int) -> eb.Sequential:
    model = chain(eb.BatchNorm1d(400), eb.Linear(400, 3))(1)
    parameters = model.parameters()
    for name in ("running_mean", "running_var"):
        parameters[f"0.{name}"] += seed
    model.load_parameters(parameters)
    return model


def gradients(model: eb.Sequential) -> list[np.ndarray]:
    return list(model.parameter_gradients(X, Y).values())


READERS: dict[str, tuple[Make, Read]] = {
    "parameters": (linear, lambda model: list(model.parameters().values())),
    "linear_exact": (linear, lambda model: [eb.linear_exact(model, X, Y, eps=0.2, norm="l2", bounds=None)]),
    "pgd": (linear, lambda model: [eb.pgd(model, X, Y, eps=0.2, steps=3, bounds=None)]),
    "gradients of linear": (linear, gradients),
    "gradients of rbf": (chain(eb.RBF(400, 90), eb.Linear(90, 3)), gradients),
    "gradients of diagonal rbf": (chain(eb.RBF(400, 90, diagonal=True), eb.Linear(90, 3)), gradients),
    "gradients of batch norm": (scaled_means, gradients),
}


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("reader", READERS)
def test_a_call_beside_loading_sees_one_state_whole(reader: str) -> None:
    make, read = READERS[reader]
    states = [{name: np.ascontiguousarray(p) for name, p in make(seed).parameters().items()} for seed in (1, 2)]
    model = make(0)
    wanted = []
    for state in states:
        model.load_parameters(state)
        wanted.append(read(model))
    assert not same(*wanted)

    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            for state in states:
                model.load_parameters(state)

    loader = threading.Thread(target=load)
    loader.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda _: read(model), range(300)))
    finally:
        done.set()
        loader.join()
    assert all(any(same(result, state) for state in wanted) for result in results)


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x, y: model(x),
        lambda model, x, y: model.predict(x),
        lambda model, x, y: model.probabilities(x),
        lambda model, x, y: model.loss(x, y),
        lambda model, x, y: model.input_gradient(x, y),
        lambda model, x, y: eb.pgd(model, x, y, eps=0.1, steps=1),
    ],
    ids=["logits", "predict", "probabilities", "loss", "input_gradient", "pgd"],
)
def test_logits_that_overflow_are_an_error(call: Callable[..., Any]) -> None:
    model = eb.models.linear(400, 3)
    model.load_parameters({name: np.full_like(p, 3e38) for name, p in model.parameters().items()})
    with pytest.raises(ValueError, match="model: it gave a logit that is not finite for row 0"):
        call(model, np.ones_like(X), Y)


def two_weights(below: float, above: float) -> eb.Sequential:
    """x -> above relu(below x) for the first feature and the second class."""
    model = eb.Sequential([eb.Linear(2, 2), eb.ReLU(), eb.Linear(2, 2)], input_shape=(2,))
    weights = {name: np.zeros_like(p) for name, p in model.parameters().items()}
    weights["0.weight"][0, 0], weights["2.weight"][1, 0] = below, above
    model.load_parameters(weights)
    return model


def test_derivatives_that_overflow_are_an_error() -> None:
    model, y = two_weights(1e30, 1e30), np.array([0, 0])
    x = np.array([[-1e-25, 0], [1e-25, 0]], np.float32)
    for call in (lambda: model.input_gradient(x, y), lambda: model.jacobian(x)):
        with pytest.raises(ValueError, match="model: a derivative for row 1 is not finite"):
            call()
    with pytest.raises(ValueError, match=r"model: the gradient of '0\.weight' is not finite"):
        two_weights(1e-25, 1e30).parameter_gradients(np.array([[1e20, 0], [0, 0]], np.float32), y)


def test_derivatives_beyond_float16_are_an_error_that_names_the_remedy() -> None:
    model, x, y = two_weights(1e3, 1e3), np.array([[-1, 0], [1, 0]], np.float16), np.array([0, 0])
    for call in (lambda: model.input_gradient(x, y), lambda: model.jacobian(x)):
        with pytest.raises(ValueError, match=r"x: float16 cannot hold the derivatives of row 1.*1e\+06.* float32"):
            call()
    assert model.input_gradient(x.astype(np.float32), y)[1, 0] == 1e6
    assert two_weights(1e2, 1e2).input_gradient(x, y)[1, 0] == 1e4
