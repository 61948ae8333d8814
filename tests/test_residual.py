"""Residual blocks: sums of branches on features and images, forward, backward, trained, bounded and exchanged."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import (
    LOSSES,
    assert_same_in_any_batch,
    batch,
    check_central_differences,
    check_image_model,
    check_loss,
    image_model,
    labels,
    use_threads,
)
from oracle_images import Stack
from test_batch_norm import BATCHES, LR, assert_trained_as

T = eb.training
R = eb.Residual


def basic(channels: int, out: int, stride: int = 1, activation: Any = eb.ReLU) -> list[Any]:
    """He et al.'s block with its activation on top: the identity, or a projection where the shape changes."""
    shortcut = [] if (channels, stride) == (out, 1) else [eb.Conv2d(channels, out, 1, stride), eb.BatchNorm2d(out)]
    body = [
        eb.Conv2d(channels, out, 3, stride, 1, bias=False), eb.BatchNorm2d(out), activation(),
        eb.Conv2d(out, out, 3, padding=1, bias=False), eb.BatchNorm2d(out),
    ]  # fmt: skip
    return [R(body, shortcut), activation()]


def before(channels: int, activation: Any = eb.ReLU) -> Any:
    """The block of He et al. 2016b (arXiv 1603.05027), which normalises and activates first."""
    return R([eb.BatchNorm2d(channels), activation(), eb.Conv2d(channels, channels, 3, padding=1)])


BLOCKS: dict[str, tuple[list[Any], tuple[int, ...]]] = {
    "features": ([eb.Linear(5, 7), eb.ReLU(), R([eb.Linear(7, 9), eb.ReLU(), eb.Linear(9, 7)]), eb.Linear(7, 3)], (5,)),
    "features, activated": ([eb.Linear(5, 7), R([eb.Linear(7, 7)]), eb.GELU(), eb.Linear(7, 3)], (5,)),
    "projected": ([eb.Linear(5, 7), eb.GELU(), R([eb.Linear(7, 4), eb.Tanh()], [eb.Linear(7, 4)])], (5,)),
    "first": ([R([eb.Linear(5, 5), eb.ReLU()]), eb.Linear(5, 3)], (5,)),
    "first, both branches": ([R([eb.Linear(5, 3), eb.ReLU()], [eb.Linear(5, 3)])], (5,)),
    "first, behind Flatten": ([eb.Flatten(), R([eb.Linear(6, 6)]), eb.Linear(6, 2)], (3, 2)),
    "first, both halves flat": ([R([eb.Linear(18, 4)], [eb.Flatten(), eb.Linear(18, 4)])], (2, 3, 3)),
    "one class": ([eb.Linear(5, 7), eb.ReLU(), R([eb.Linear(7, 7), eb.Sigmoid()]), eb.Linear(7, 1)], (5,)),
    "twice the value": ([eb.Linear(5, 3), eb.GELU(), R([eb.Dropout()]), eb.Linear(3, 3)], (5,)),
    "activation in the body": ([eb.Linear(5, 4), R([eb.ReLU()]), eb.Linear(4, 3)], (5,)),
    "activations in both": ([eb.Linear(5, 4), R([eb.GELU()], [eb.Tanh()]), eb.ELU(), eb.Linear(4, 3)], (5,)),
    "inside another": ([eb.Linear(5, 4), R([eb.Linear(4, 4), R([eb.Linear(4, 4), eb.Tanh()])], [R([eb.Linear(4, 4)])]),
                        eb.ReLU(), eb.Linear(4, 3)], (5,)),
    "normalised features": ([eb.Linear(5, 6), eb.BatchNorm1d(6), eb.ReLU(), R([eb.Linear(6, 6), eb.BatchNorm1d(6)]),
                             eb.BatchNorm1d(6), eb.ReLU(), eb.Linear(6, 3)], (5,)),
    "maxout": ([eb.Linear(5, 8), R([eb.Maxout(2)], [eb.Linear(8, 4)]), eb.Linear(4, 3)], (5,)),
    "rbf": ([eb.Linear(5, 6), R([eb.RBF(6, 6), eb.Exp()]), eb.Linear(6, 3)], (5,)),
    "basic block": ([eb.Conv2d(2, 5, 3, padding=1), eb.BatchNorm2d(5), eb.ReLU(), *basic(5, 5), eb.AvgPool2d(4),
                     eb.Linear(5, 3)], (2, 4, 4)),
    "strided block": ([eb.Conv2d(2, 5, 3, padding=1), eb.ReLU(), *basic(5, 7, 2), eb.Linear(28, 3)], (2, 4, 4)),
    "block first": ([*basic(3, 3), eb.Linear(48, 3)], (3, 4, 4)),
    "strided block first": ([eb.Normalize(0.5, 0.25), *basic(3, 5, 2), eb.Linear(20, 3)], (3, 4, 4)),
    "normalised first": ([eb.Conv2d(2, 3, 3), before(3), before(3), eb.BatchNorm2d(3), eb.GELU(), eb.Linear(12, 3)],
                         (2, 4, 4)),
    "pooled": ([eb.Conv2d(2, 3, 3), eb.ReLU(), R([eb.MaxPool2d(2)], [eb.AvgPool2d(2)]), eb.Linear(12, 3)], (2, 6, 6)),
    "pooled above": ([eb.Conv2d(2, 3, 3), R([eb.Conv2d(3, 3, 1)]), eb.MaxPool2d(2), eb.Linear(3, 3)], (2, 4, 4)),
    "to features in both": ([eb.Conv2d(2, 3, 3), eb.ReLU(),
                             R([eb.Flatten(), eb.Linear(12, 4)], [eb.AvgPool2d(2), eb.Linear(3, 4)]), eb.Linear(4, 3)],
                            (2, 4, 4)),
    "flat and image": ([eb.Conv2d(2, 3, 3), eb.Tanh(), eb.Flatten(), R([eb.Linear(12, 12)]), eb.Linear(12, 3)],
                       (2, 4, 4)),
    "last": ([eb.Conv2d(2, 3, 3), R([eb.Conv2d(3, 3, 1)])], (2, 4, 4)),
}  # fmt: skip


def oracle_knows(layers: list[Any]) -> bool:
    """The image oracle has no Maxout and no RBF; those blocks are held against float64 by hand."""
    return not any(name in repr(layers) for name in ("Maxout", "RBF"))


@pytest.mark.parametrize("name", [n for n, (layers, _) in BLOCKS.items() if oracle_knows(layers)])
@pytest.mark.parametrize("rows", [3, 17])
def test_every_block_agrees(table: str, name: str, rows: int) -> None:
    layers, shape = BLOCKS[name]
    check_image_model(layers, shape, rows=rows)


@pytest.mark.parametrize("width", [1, 2, 15, 16, 17, 33, 65])
def test_every_width_agrees(table: str, width: int) -> None:
    layers = [eb.Linear(width, width), eb.Softplus(), R([eb.Linear(width, width), eb.Softplus()]), eb.Linear(width, 3)]
    check_image_model(layers, (width,), rows=9)


@pytest.mark.parametrize("channels", [1, 3, 16, 17, 33])
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_every_number_of_channels_agrees(table: str, channels: int, size: tuple[int, int]) -> None:
    layers = [eb.Conv2d(2, channels, 1), eb.GELU(), *basic(channels, channels, activation=eb.GELU)]
    layers += [*basic(channels, channels + 1, 2, eb.Softplus), eb.AvgPool2d(1)]
    shape = layers[0].output_shape((2, *size))
    for layer in layers[1:]:
        shape = layer.output_shape(shape)
    check_image_model([*layers, eb.Linear(math.prod(shape), 3)], (2, *size), rows=9)


@pytest.mark.parametrize("name", ["maxout", "rbf"])
def test_layers_of_features_in_blocks_have_gradients_of_their_own_logits(table: str, name: str) -> None:
    """Central differences of the engine's loss, whose second-order error shrinks with the step."""
    layers, shape = BLOCKS[name]
    model = eb.Sequential(layers, input_shape=shape, seed=3)
    x, y = batch(9, *shape, low=-1.0), labels(9, 3)
    gradient, h = model.input_gradient(x, y), 2.0**-8
    for i in range(x.shape[1]):
        up, down = x.copy(), x.copy()
        up[:, i] += np.float32(h)
        down[:, i] -= np.float32(h)
        slope = (model.loss(up, y).astype(np.float64) - model.loss(down, y)) / (2 * h)
        np.testing.assert_allclose(gradient[:, i], slope, rtol=0, atol=2e-3 * np.abs(gradient).max())


def net() -> tuple[Any, Stack]:
    """Residual blocks of every kind, with smooth activations."""
    layers = [
        eb.Normalize(0.5, 0.5), eb.Conv2d(2, 5, 3, padding=1), eb.BatchNorm2d(5), eb.GELU(),
        *basic(5, 5, activation=eb.GELU), before(5, eb.Tanh), *basic(5, 6, 2, eb.Softplus), eb.AvgPool2d(2),
        eb.Flatten(), eb.Linear(6, 7), eb.Tanh(), R([eb.Linear(7, 7), eb.Dropout(0.1), eb.Tanh()]), eb.Linear(7, 4),
    ]  # fmt: skip
    return image_model(layers, (2, 4, 4))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_slope_of_the_loss(table: str, loss: str) -> None:
    model, oracle_net = image_model([eb.Conv2d(1, 3, 2), eb.ELU(), *basic(3, 3, activation=eb.ELU), eb.Linear(12, 3)],
                                    (1, 3, 3))  # fmt: skip
    check_central_differences(model, oracle_net, batch(9, 9, low=-1.0), labels(9, 3), loss)


def test_every_batch_agrees_and_has_the_same_bits(table: str) -> None:
    model, oracle_net = net()
    x, y = batch(33, 32, low=-1.0), labels(33, 4)
    check_loss(model, oracle_net, x, y, "cross_entropy")
    assert_same_in_any_batch(model, x, y, "cross_entropy", BATCHES)


@pytest.mark.parametrize("slab", [1, 5, 8, 33])
@pytest.mark.parametrize("name", ["features", "first", "inside another", "strided block", "normalised first", "pooled"])
def test_no_slab_and_no_thread_count_changes_a_bit(table: str, name: str, slab: int) -> None:
    layers, shape = BLOCKS[name]
    model, oracle_net = image_model(layers, shape)
    x, y = batch(33, oracle_net.features), labels(33, oracle_net.classes)
    attack = eb.attacks.PGD(eps=0.1, steps=3, early_stop=True, seed=1)
    wanted = attack.run(model, x, y), model.jacobian(x), model.parameter_gradients(x, y)
    eb._native.set_slab_rows(slab)
    use_threads(3)
    got = attack.run(model, x, y), model.jacobian(x), model.parameter_gradients(x, y)
    np.testing.assert_array_equal(got[0].x_adv, wanted[0].x_adv)
    np.testing.assert_array_equal(got[0].loss, wanted[0].loss)
    np.testing.assert_array_equal(got[1], wanted[1])
    for name_, g in got[2].items():
        np.testing.assert_array_equal(g, wanted[2][name_], err_msg=name_)


# ---- training


@pytest.mark.parametrize("steps", [1, 4])
def test_sgd_steps_are_the_transcribed_ones(table: str, steps: int) -> None:
    """Batch normalisation in both branches goes by the statistics of the batch."""
    layers = [
        eb.Conv2d(2, 4, 3, padding=1), eb.BatchNorm2d(4), eb.Tanh(), *basic(4, 4, activation=eb.GELU),
        before(4, eb.Tanh), *basic(4, 5, 2, eb.Softplus), eb.Linear(20, 3),
    ]  # fmt: skip
    model, oracle_net = image_model(layers, (2, 4, 4))
    x, y = batch(20, 32), labels(20, 3)
    for _ in range(steps):
        oracle_net.sgd_step(x, y, LR)
    eb.fit(model, x, y, epochs=steps, batch_size=20, optimizer=T.SGD(lr=LR))
    assert_trained_as(model, oracle_net, steps)


def test_parameter_gradients_are_float64_finite_differences(table: str) -> None:
    model, oracle_net = image_model([*basic(2, 3, 2, eb.GELU), eb.Linear(12, 3)], (2, 4, 4))
    x, y = batch(7, 32, low=-1.0), labels(7, 3)
    for name, g in model.parameter_gradients(x, y).items():
        p = oracle_net.parameters()[name]
        if "running" in name:
            np.testing.assert_array_equal(g, 0)
            continue
        slope = np.zeros_like(p)
        for i in np.ndindex(p.shape):
            was, h, ends = p[i], 1e-5, []
            for sign in (1, -1):
                p[i] = was + sign * h
                ends.append(oracle.loss("cross_entropy", oracle_net(x), y).mean())
            p[i] = was
            slope[i] = (ends[0] - ends[1]) / (2 * h)
        np.testing.assert_allclose(g, slope, rtol=1e-4, atol=1e-5, err_msg=name)


METHODS = {
    "standard": lambda: T.Standard(),
    "pgd": lambda: T.PGDTraining(eps=0.1, steps=2),
    "free": lambda: T.FreeTraining(eps=0.1, replays=2),
    "trades": lambda: T.TRADES(eps=0.1, steps=2),
}


def trained(method: str, layers: list[Any], shape: tuple[int, ...], **options: Any) -> tuple[Any, bytes]:
    model, oracle_net = image_model(layers, shape)
    x, y = batch(50, oracle_net.features), labels(50, oracle_net.classes)
    optimizer = T.SGD(lr=0.02, momentum=0.9)
    eb.fit(model, x, y, method=METHODS[method](), epochs=2, batch_size=18, optimizer=optimizer, **options)
    return model, b"".join(p.tobytes() for p in model.parameters().values())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["first", "strided block first", "normalised features"])
def test_training_has_the_same_bits_for_every_slab_and_thread_count(table: str, method: str, name: str) -> None:
    _, wanted = trained(method, *BLOCKS[name])
    eb._native.set_slab_rows(5)
    use_threads(3)
    assert trained(method, *BLOCKS[name])[1] == wanted


def test_dropout_in_a_block_drops_while_training_alone(table: str) -> None:
    """From weights 0 a step moves them by the gradient times what the block gives: x, or x + x / (1 - p)."""
    layers = [eb.Linear(1, 400), R([eb.Dropout(0.2)]), eb.Linear(400, 1, bias=False)]
    model = eb.Sequential(layers, input_shape=(1,))
    ones = {"0.weight": np.ones((400, 1)), "0.bias": np.zeros(400), "2.weight": np.zeros((1, 400))}
    model.load_parameters(ones)
    x = np.ones((1, 1), np.float32)
    np.testing.assert_array_equal(model(x), 0)
    eb.fit(model, x, np.array([1]), epochs=1, batch_size=1, optimizer=T.SGD(lr=1.0))
    moved = model.parameters()["2.weight"][0]
    dropped = np.isclose(moved, 0.5, rtol=1e-5)
    np.testing.assert_allclose(moved[~dropped], 0.5 * (1 + 1 / 0.8), rtol=1e-5)
    assert abs(dropped.mean() - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 400)


@pytest.mark.parametrize("method", METHODS)
def test_training_lowers_the_loss(method: str) -> None:
    model, oracle_net = net()
    x = batch(120, 32)
    y = np.random.default_rng(0).permutation(4)[oracle_net.predict(x)]
    before_, method_ = model.loss(x, y).mean(), METHODS[method]()
    eb.fit(model, x, y, method=method_, epochs=15, batch_size=20, optimizer=T.SGD(lr=0.02, momentum=0.9))
    assert model.loss(x, y).mean() < before_


# ---- intervals


@pytest.mark.parametrize("name", [n for n in BLOCKS if "GELU" not in repr(BLOCKS[n][0]) and n != "rbf"])
def test_bounds_hold_and_shrink_to_the_logits(table: str, name: str) -> None:
    layers, shape = BLOCKS[name]
    model = eb.Sequential(layers, input_shape=shape, seed=5)
    features = math.prod(shape)
    x = batch(13, features)
    low, high = x - np.float32(0.1), x + np.float32(0.1)
    lower, upper = model.output_bounds(low, high)
    rng = np.random.default_rng(0)
    for _ in range(50):
        z = model(rng.uniform(low, high).astype(np.float32).clip(low, high))
        assert (lower <= z).all()
        assert (z <= upper).all()
    point = model.output_bounds(x, x)
    z = model(x)
    for side in point:
        np.testing.assert_allclose(side, z, rtol=0, atol=2e-4 * (1 + np.abs(z).max()))
    assert (point[0] <= z).all()
    assert (z <= point[1]).all()


def test_bounds_of_a_linear_block_are_the_sums_of_both_branches(table: str) -> None:
    model, _ = image_model([R([eb.Linear(5, 3)], [eb.Linear(5, 3)])], (5,))
    p = {n: v.astype(np.float64) for n, v in model.parameters().items()}
    x = batch(7, 5)
    lower, upper = model.output_bounds(x - np.float32(0.125), x + np.float32(0.125))
    centre = x @ (p["0.body.0.weight"] + p["0.shortcut.0.weight"]).T + p["0.body.0.bias"] + p["0.shortcut.0.bias"]
    reach = 0.125 * sum(np.abs(p[f"0.{part}.0.weight"]).sum(axis=1) for part in ("body", "shortcut"))
    np.testing.assert_allclose(lower, centre - reach, rtol=0, atol=1e-4)
    np.testing.assert_allclose(upper, centre + reach, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["features", "inside another", "pooled", "maxout", "first"])
def test_training_on_intervals_tightens_them(table: str, name: str) -> None:
    layers, shape = BLOCKS[name]
    model = eb.Sequential(layers, input_shape=shape, seed=5)
    x, y = batch(60, math.prod(shape)), labels(60, model.classes)

    def worst() -> float:
        lower, upper = model.output_bounds(np.maximum(x - np.float32(0.1), 0), np.minimum(x + np.float32(0.1), 1))
        z = np.array(upper)
        z[np.arange(60), y] = lower[np.arange(60), y]
        return float(oracle.loss("cross_entropy", z.astype(np.float64), y).mean())

    start, method = worst(), T.IBPTraining(eps=0.1, kappa=0.0, warmup=0.0, ramp=0.0)
    eb.fit(model, x, y, method=method, epochs=20, batch_size=20, optimizer=T.SGD(lr=0.05))
    assert worst() < 0.9 * start


def test_layers_that_intervals_do_not_pass_are_named_inside_blocks() -> None:
    model = eb.Sequential([eb.Linear(5, 5), R([eb.Linear(5, 5), eb.GELU()])], input_shape=(5,))
    with pytest.raises(ValueError, match=r"got layer 1\.body\.1 \(GELU\(\)\)"):
        model.output_bounds(batch(3, 5), batch(3, 5))


# ---- names, files, copies


def test_parameters_are_named_by_their_places() -> None:
    model = eb.Sequential([eb.Linear(4, 4), R([eb.Linear(4, 4), R([eb.Linear(4, 4)])], [eb.Linear(4, 4, bias=False)])],
                          input_shape=(4,))  # fmt: skip
    assert list(model.parameters()) == [
        "0.weight", "0.bias", "1.body.0.weight", "1.body.0.bias", "1.body.1.body.0.weight", "1.body.1.body.0.bias",
        "1.shortcut.0.weight",
    ]  # fmt: skip
    first = model.parameters()
    assert len({v.tobytes() for v in first.values()}) == len(first), "two parameters start alike"


@pytest.mark.parametrize("name", BLOCKS)
def test_copies_and_files_keep_every_bit(name: str, tmp_path: Path) -> None:
    layers, shape = BLOCKS[name]
    model = eb.Sequential(layers, input_shape=shape, seed=7)
    model.save(tmp_path / "m.safetensors")
    x = batch(5, math.prod(shape))
    for again in (eb.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert again.layers == model.layers
        assert list(again.parameters()) == list(model.parameters())
        np.testing.assert_array_equal(again(x), model(x))


def test_repr_and_equality() -> None:
    layer = R([eb.Linear(3, 3), eb.ReLU()], [eb.Linear(3, 3)])
    assert eval(repr(layer), dict(vars(eb))) == layer
    assert R([eb.ReLU()]) == R((eb.ReLU(),), ())
    assert hash(R([eb.ReLU()])) == hash(R([eb.ReLU()]))


MISFITS: dict[str, tuple[Any, str]] = {
    "shapes differ": (R([eb.Linear(4, 3)]), r"layer 0 \(Residual.* adds .*\(3,\).*\(4,\)"),
    "inside": (R([eb.Linear(4, 3), eb.Linear(4, 4)]), r"layer 0\.body\.1 \(Linear.*takes 4 features, but gets 3"),
    "in the shortcut": (R([eb.ReLU()], [eb.Conv2d(1, 1, 1)]), r"layer 0\.shortcut\.0 \(Conv2d.*images"),
    "deep inside": (R([R([eb.Linear(5, 5)])]), r"layer 0\.body\.0\.body\.0 \(Linear.*takes 5 features"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_blocks_that_do_not_fit_are_named(name: str) -> None:
    layer, message = MISFITS[name]
    with pytest.raises(ValueError, match=r"^layers: " + message):
        eb.Sequential([layer], input_shape=(4,))


def test_bad_branches_are_named() -> None:
    for make, error, message in (
        (lambda: R([]), ValueError, "^body: wanted at least one layer"),
        (lambda: R(["relu"]), TypeError, "^body: layer 0 is no epsball layer"),
        (lambda: R([eb.ReLU()], [eb.ReLU(), 3]), TypeError, "^shortcut: layer 1 is no epsball layer"),
        (lambda: R(eb.ReLU()), TypeError, "^body: wanted a sequence of layers"),
        (lambda: R([eb.ReLU()], None), TypeError, "^shortcut: wanted a sequence of layers"),
    ):
        with pytest.raises(error, match=message):
            make()


def test_methods_that_refuse_layers_find_them_in_blocks() -> None:
    model = eb.Sequential([eb.Linear(4, 4), R([eb.Linear(4, 4), eb.Dropout()])], input_shape=(4,))
    x, y = batch(5, 4), labels(5, 4)
    for method in (T.DoubleBackprop(), T.IBPTraining(eps=0.1)):
        with pytest.raises(ValueError, match=r"got layer 1\.body\.1 \(Dropout"):
            eb.fit(model, x, y, method=method)
    model = eb.Sequential([eb.Linear(4, 4), R([eb.BatchNorm1d(4)])], input_shape=(4,))
    with pytest.raises(ValueError, match=r"layer 1\.body\.0 \(BatchNorm1d.* one row"):
        eb.fit(model, x, y, batch_size=4)


def test_closed_forms_refuse_blocks() -> None:
    model = eb.Sequential([R([eb.Linear(4, 4)])], input_shape=(4,))
    for attack in (eb.attacks.LinearExact(eps=0.1), eb.attacks.LinearMinimum()):
        with pytest.raises(ValueError, match="linear model"):
            attack.run(model, batch(3, 4), labels(3, 4))
