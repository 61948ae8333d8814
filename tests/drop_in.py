"""What the tests of the drop-in adapters share: digits, a trained torch module, other libraries, their signatures."""

from __future__ import annotations

import inspect
import warnings
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import epsball as eb


def library(name: str) -> Any:
    """The other library, whatever it warns of when imported; the test is skipped where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return import_module(name)
        except ImportError as error:
            # Peers are optional: CI has torch alone, and the drop-ins need nothing else to work.
            pytest.skip(f"{name.partition('.')[0]} is not installed ({error})")


@cache
def module_and_digits() -> tuple[Any, Any, Any]:
    """(module, images, labels): a small trained CNN of torch in eval mode, and 50 test digits as tensors."""
    torch = library("torch")
    x, y = eb.datasets.load("mnist-subset", split="train")
    model = eb.models.cnn((1, 28, 28), classes=10, seed=0)
    eb.fit(model, x[:800].reshape(-1, 1, 28, 28), y[:800], epochs=5, seed=0)
    xt, yt = eb.datasets.load("mnist-subset", split="test")
    images = torch.from_numpy(xt[:50].reshape(-1, 1, 28, 28).copy())
    return eb.to_torch(model), images, torch.from_numpy(yt[:50].copy())


def parameters_of(thing: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults of a callable's parameters, as a caller sees them; annotations do not count."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(thing).parameters.values()]


def accuracy(module: Any, x: Any, y: Any) -> float:
    """The fraction of rows that the module itself gets right."""
    torch = library("torch")
    with torch.no_grad():
        return float((module(torch.as_tensor(x)).argmax(1) == torch.as_tensor(y)).double().mean())


def mean_loss(module: Any, x: Any, y: Any) -> float:
    """The module's own mean cross-entropy."""
    torch = library("torch")
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(module(torch.as_tensor(x)), torch.as_tensor(y)))


def lengths(x_adv: Any, x: Any, norm: str) -> np.ndarray:
    """Norms of the rows' differences, in float64."""
    a, b = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (x_adv, x))
    return np.linalg.norm(a - b, {"linf": np.inf, "l2": 2, "l1": 1, "l0": 0}[norm], axis=1)


def assert_within(x_adv: Any, x: Any, eps: float, norm: str) -> None:
    """Ball and box hold exactly."""
    assert (lengths(x_adv, x, norm) <= eps).all()
    assert float(x_adv.min()) >= 0
    assert float(x_adv.max()) <= 1


def assert_no_weaker(module: Any, ours: Any, theirs: Any, y: Any) -> None:
    """Ours leaves at most one row in fifty more right than theirs, which random starts account for."""
    assert accuracy(module, ours, y) <= accuracy(module, theirs, y) + 0.02


def assert_as_near(module: Any, ours: Any, theirs: Any, x: Any, y: Any, norm: str, more: float = 1.01) -> None:
    """Ours breaks no fewer rows than theirs, and half of them within `more` times the distance of theirs."""
    won = [broken(module, points, y) for points in (ours, theirs)]
    median = [np.median(np.where(w, lengths(p, x, norm), np.inf)) for w, p in zip(won, (ours, theirs), strict=True)]
    assert won[0].sum() >= won[1].sum()
    assert float(ours.min()) >= 0
    assert float(ours.max()) <= 1
    assert 0 < median[0] < np.inf
    assert median[0] <= more * median[1], f"{median[0] / median[1]:.3f} times theirs"


def broken(module: Any, x: Any, y: Any) -> np.ndarray:
    """Which rows the module gets wrong, but for its rounding: nearest points may lie right behind the boundary."""
    torch = library("torch")
    with torch.no_grad():
        logits = module(torch.as_tensor(x)).numpy()
    right = logits[np.arange(len(y)), np.asarray(y)]
    return (logits.max(axis=1) > right) | (np.sort(logits, axis=1)[:, -2] > right - 1e-4)


def assert_same_points(module: Any, got: Any, wanted: Any, x: Any, y: Any) -> None:
    """Two libraries' single steps agree, where the derivative does not cancel in theirs and is not all but zero.

    They have p − 1 for the label, of which a confident row keeps few digits; a derivative near zero may round to
    another sign, which moves a pixel by 2 eps.
    """
    torch = library("torch")
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(module(torch.as_tensor(x)), torch.as_tensor(y), reduction="none")
    kept = (loss > 1e-2).numpy()
    assert kept.sum() >= 10
    apart = np.abs(np.asarray(got, np.float64) - np.asarray(wanted, np.float64))[kept]
    assert (apart > 1e-5).mean() < 1e-4
