"""No kernel writes outside its buffers, or reads what nobody wrote.

`_native.check_guards(True)` puts guard bytes around every workspace of the engine and fills it with
NaN poison; an overrun raises when the workspace is given back, and a read of poison shows in results,
which are compared with those of an unguarded run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import SIZES, batch, image_model, labels, pair
from test_residual import BLOCKS

A = eb.attacks
ATTACKS = [
    A.FGSM(eps=0.1),
    A.FGSM(eps=0.5, norm="l2"),
    A.FGSM(eps=1.0, norm="l1"),
    A.RFGSM(eps=0.1),
    A.ILCM(eps=0.1, steps=2),
    A.PGD(eps=0.1, steps=2, restarts=2),
    A.PGD(eps=0.5, norm="l2", steps=2),
    A.PGD(eps=1.0, norm="l1", steps=2),
    A.PGD(eps=0.1, steps=3, restarts=2, early_stop=True),
]


@pytest.fixture
def guards() -> Iterator[None]:
    eb._native.check_guards(True)
    yield
    eb._native.check_guards(False)


def results(model: Any, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Everything the engine computes for a batch, attacks included."""
    out = [model(x), model.loss(x, y), model.input_gradient(x, y), model.jacobian(x)]
    out += list(model.parameter_gradients(x, y).values())
    for attack in ATTACKS:
        run = attack.run(model, x, y)
        out += [run.x_adv, run.loss, run.distance]
    return [np.asarray(a) for a in out]


def assert_clean(sizes: list[int], activation: str, rows: int) -> None:
    model, _ = pair(sizes, activation)
    assert_model_clean(model, batch(rows, sizes[0]), labels(rows, sizes[-1]))


def assert_model_clean(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    eb._native.check_guards(False)
    plain = results(model, x, y)
    eb._native.check_guards(True)
    for guarded, wanted in zip(results(model, x, y), plain, strict=True):
        assert np.isfinite(guarded).all()
        np.testing.assert_array_equal(guarded, wanted)


@pytest.mark.parametrize("size", SIZES)
def test_odd_numbers_of_features(table: str, guards: None, size: int) -> None:
    assert_clean([size, 7, 3], "relu", 5)
    assert_clean([size, 1], "relu", 3)


@pytest.mark.parametrize("size", SIZES)
def test_odd_hidden_widths(table: str, guards: None, size: int) -> None:
    assert_clean([5, size, size, 3], "gelu", 4)


@pytest.mark.parametrize("size", SIZES)
def test_odd_numbers_of_classes(table: str, guards: None, size: int) -> None:
    assert_clean([9, size], "relu", 6)


@pytest.mark.parametrize("rows", SIZES)
def test_odd_batches(table: str, guards: None, rows: int) -> None:
    assert_clean([17, 15, 10], "tanh", rows)


@pytest.mark.parametrize("slab", [1, 3, 14, 15])
def test_odd_slabs(table: str, guards: None, slab: int) -> None:
    eb._native.set_slab_rows(slab)
    assert_clean([17, 15, 10], "softplus", 33)


@pytest.mark.parametrize("rows", [1, 3, 8, 9, 17])
@pytest.mark.parametrize("channels", [1, 3, 17])
def test_images(table: str, guards: None, channels: int, rows: int) -> None:
    model, net = image_model(image_layers(channels), (2, 5, 6))
    assert_model_clean(model, batch(rows, net.features), labels(rows, 3))


@pytest.mark.parametrize("size", SIZES)
def test_maxout(table: str, guards: None, size: int) -> None:
    for layers, shape in (
        ([eb.Linear(size, 3 * size), eb.Maxout(3), eb.Linear(size, 2)], (size,)),
        ([eb.Conv2d(1, 2 * size, 2), eb.Maxout(2), eb.Linear(4 * size, 2)], (1, 3, 3)),
    ):
        model = eb.Sequential(layers, input_shape=shape)
        for rows in (1, 9, 17):
            assert_model_clean(model, batch(rows, int(np.prod(shape))), labels(rows, 2))


def image_layers(channels: int) -> list[Any]:
    return [
        eb.Normalize(0.5, 0.25), eb.Conv2d(2, channels, 3, padding=1), eb.BatchNorm2d(channels), eb.ReLU(),
        eb.MaxPool2d(3, stride=2, padding=1), eb.GELU(), eb.Conv2d(channels, 5, 2, stride=2), eb.Dropout(0.2),
        eb.Quadratic(), eb.AvgPool2d(1), eb.Flatten(), eb.BatchNorm1d(5), eb.Linear(5, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [1, 9, 17])
@pytest.mark.parametrize("name", BLOCKS)
def test_residual_blocks(table: str, guards: None, name: str, rows: int) -> None:
    layers, shape = BLOCKS[name]
    model = eb.Sequential(layers, input_shape=shape)
    assert_model_clean(model, batch(rows, int(np.prod(shape))), labels(rows, model.classes))


def test_training_on_images(table: str, guards: None) -> None:
    for channels in (1, 7, 17):
        block = eb.Residual([eb.BatchNorm2d(2), eb.ReLU(), eb.Conv2d(2, 2, 3, padding=1)])
        model, net = image_model([block, *image_layers(channels)], (2, 5, 6))
        x, y = batch(31, net.features), labels(31, 3)
        for method in (eb.training.FGSMTraining(eps=0.1), eb.training.PGDTraining(eps=0.1, steps=2)):
            eb.fit(model, x, y, method=method, epochs=1, batch_size=7, optimizer=eb.training.SGD(lr=0.01))
        assert all(np.isfinite(p).all() for p in model.parameters().values())


def test_training(table: str, guards: None) -> None:
    for size in (1, 7, 17, 33):
        model, _ = pair([size, size, 3], "relu")
        x, y = batch(31, size), labels(31, 3)
        for method in (eb.training.Standard(), eb.training.PGDTraining(eps=0.1, steps=2)):
            eb.fit(model, x, y, method=method, epochs=1, batch_size=7)
        assert all(np.isfinite(p).all() for p in model.parameters().values())


@pytest.mark.parametrize("rows", [1, 5, 17])
def test_boxes(table: str, guards: None, rows: int) -> None:
    """Bounds of boxes, and training on them."""
    x = np.random.default_rng(rows).random((rows, 1, 8, 8), dtype=np.float32)
    y, found = np.arange(rows) % 3, []
    for guarded in (False, True):
        eb._native.check_guards(guarded)
        layers = [
            eb.Conv2d(1, 3, 3),
            eb.ReLU(),
            eb.MaxPool2d(2),
            eb.Flatten(),
            eb.Linear(27, 5),
            eb.Tanh(),
            eb.Linear(5, 3),
        ]
        model = eb.Sequential(layers, input_shape=(1, 8, 8))
        method = eb.training.IBPTraining(eps=0.1, warmup=0.0, ramp=0.5)
        eb.fit(model, x, y, method=method, epochs=2, batch_size=9)
        found.append([*model.parameters().values(), *model.output_bounds(x, x + np.float32(0.1))])
    for plain, poisoned in zip(*found, strict=True):
        assert np.isfinite(poisoned).all()
        np.testing.assert_array_equal(poisoned, plain)
