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
READERS: dict[str, Callable[[eb.Sequential], list[np.ndarray]]] = {
    "parameters": lambda model: list(model.parameters().values()),
    "linear_exact": lambda model: [eb.linear_exact(model, X, Y, eps=0.2, norm="l2", bounds=None)],
    "pgd": lambda model: [eb.pgd(model, X, Y, eps=0.2, steps=3, bounds=None)],
}


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("reader", READERS)
def test_a_call_beside_loading_sees_one_state_whole(reader: str) -> None:
    read = READERS[reader]
    states: list[dict[str, Any]] = []
    for seed in (1, 2):
        weights = eb.models.linear(400, 3, seed=seed).parameters()
        states.append({name: np.ascontiguousarray(p) for name, p in weights.items()})
    model = eb.models.linear(400, 3)
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
