"""Batch normalisation: running statistics outside training, those of the batch within, and what training leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import (
    LOSSES,
    assert_same_in_any_batch,
    assert_within,
    batch,
    check_central_differences,
    check_image_model,
    check_loss,
    image_model,
    labels,
    sized,
    use_threads,
)
from oracle_images import Stack

T = eb.training
CHANNELS = (1, 3, 5, 17, 33, 64, 65)
BATCHES = (1, 2, 7, 8, 9, 15, 16, 17)

PLACES: dict[str, tuple[list[Any], tuple[int, ...]]] = {
    "first": ([eb.BatchNorm2d(3), eb.Conv2d(3, 2, 2)], (3, 3, 3)),
    "first, of features": ([eb.BatchNorm1d(7), eb.Linear(7, 3)], (7,)),
    "alone": ([eb.BatchNorm2d(3)], (3, 1, 2)),
    "after a convolution": ([eb.Conv2d(2, 3, 2), eb.BatchNorm2d(3), eb.ReLU(), eb.Linear(12, 3)], (2, 3, 3)),
    "after one without bias": ([eb.Conv2d(2, 3, 2, bias=False), eb.BatchNorm2d(3), eb.GELU()], (2, 3, 3)),
    "after a linear layer": ([eb.Linear(5, 7), eb.BatchNorm1d(7), eb.Quadratic(), eb.Linear(7, 3)], (5,)),
    "after one without bias, 1d": ([eb.Linear(5, 3, bias=False), eb.BatchNorm1d(3)], (5,)),
    "after an activation": ([eb.Conv2d(2, 3, 2), eb.GELU(), eb.BatchNorm2d(3), eb.Tanh()], (2, 3, 3)),
    "after an activation, 1d": ([eb.Linear(5, 7), eb.ReLU(), eb.BatchNorm1d(7), eb.Linear(7, 3)], (5,)),
    "after a pool": ([eb.Conv2d(2, 3, 2), eb.AvgPool2d(2), eb.BatchNorm2d(3), eb.Linear(3, 3)], (2, 3, 3)),
    "before a pool": ([eb.Conv2d(2, 3, 2), eb.BatchNorm2d(3), eb.MaxPool2d(2), eb.Linear(3, 3)], (2, 3, 3)),
    "after dropout": ([eb.Conv2d(2, 3, 2), eb.Dropout(), eb.BatchNorm2d(3), eb.Dropout()], (2, 3, 3)),
    "after Flatten": ([eb.Conv2d(2, 3, 2), eb.Flatten(), eb.BatchNorm1d(12), eb.Linear(12, 3)], (2, 3, 3)),
    "twice": ([eb.Conv2d(2, 3, 2), eb.BatchNorm2d(3), eb.BatchNorm2d(3), eb.Linear(12, 3)], (2, 3, 3)),
    "behind a convolution": (
        [eb.Conv2d(2, 3, 2), eb.ReLU(), eb.Linear(12, 5), eb.GELU(), eb.BatchNorm1d(5), eb.Linear(5, 3)],
        (2, 3, 3),
    ),
    "after normalisation": ([eb.Normalize(0.5, 0.25), eb.BatchNorm2d(2), eb.Linear(18, 3)], (2, 3, 3)),
    "last": ([eb.Conv2d(2, 4, 3), eb.BatchNorm2d(4)], (2, 3, 3)),
}


@pytest.mark.parametrize(("layers", "shape"), PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("rows", [3, 17])
def test_every_place_agrees(table: str, layers: list[Any], shape: tuple[int, ...], rows: int) -> None:
    check_image_model(layers, shape, rows=rows)


@pytest.mark.parametrize("channels", CHANNELS)
def test_every_number_of_channels_agrees(table: str, channels: int) -> None:
    layers = [eb.BatchNorm2d(channels), eb.Conv2d(channels, channels, 1), eb.BatchNorm2d(channels), eb.Softplus()]
    check_image_model([*layers, eb.Linear(2 * channels, 3)], (channels, 2, 1), rows=9)
    layers = [eb.BatchNorm1d(channels), eb.Linear(channels, channels), eb.BatchNorm1d(channels), eb.Softplus()]
    check_image_model([*layers, eb.Linear(channels, 3)], (channels,), rows=9)


def test_every_batch_agrees_and_has_the_same_bits(table: str) -> None:
    layers = [eb.Conv2d(2, 5, 2), eb.BatchNorm2d(5), eb.GELU(), eb.BatchNorm2d(5), eb.Linear(20, 4), eb.BatchNorm1d(4)]
    model, net = image_model(layers, (2, 3, 3))
    x, y = batch(33, 18, low=-1.0), labels(33, 4)
    check_loss(model, net, x, y, "cross_entropy")
    assert_same_in_any_batch(model, x, y, "cross_entropy", BATCHES)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_slope_of_the_loss(table: str, loss: str) -> None:
    model, net = image_model([eb.Conv2d(1, 3, 2), eb.BatchNorm2d(3), eb.ELU(), eb.Linear(12, 3)], (1, 3, 3))
    check_central_differences(model, net, batch(9, 9, low=-1.0), labels(9, 3), loss)


def test_a_fresh_layer_changes_little() -> None:
    parameters = eb.Sequential([eb.BatchNorm2d(2)], input_shape=(2, 1, 1)).parameters()
    assert list(parameters) == ["0.weight", "0.bias", "0.running_mean", "0.running_var"]
    for wanted, p in zip((1, 0, 0, 1), parameters.values(), strict=True):
        np.testing.assert_array_equal(p, [wanted] * 2)


def test_eps_counts(table: str) -> None:
    model = eb.Sequential([eb.BatchNorm1d(1, eps=3.0)], input_shape=(1,))
    np.testing.assert_allclose(model(np.ones((1, 1))), 0.5, rtol=1e-6)


def test_repr_and_equality() -> None:
    for kind in (eb.BatchNorm1d, eb.BatchNorm2d):
        assert kind(3) == kind(3, 1e-5, 0.1)
        assert kind(3) != kind(3, momentum=0.2)
        layer = kind(3, 0.5, 0.25)
        assert eval(repr(layer), dict(vars(eb))) == layer
    assert eb.BatchNorm1d(3) != eb.BatchNorm2d(3)


# ---- training


def conv_net(momentum: float = 0.1, dropout: float = 0.0) -> tuple[Any, Stack]:
    layers = [
        eb.Normalize(0.5, 0.25), eb.Conv2d(2, 5, 3, padding=1), eb.BatchNorm2d(5, momentum=momentum), eb.Tanh(),
        *([eb.Dropout(dropout)] if dropout else []), eb.AvgPool2d(2, stride=1),
        eb.Conv2d(5, 4, 2, stride=2, bias=False), eb.Flatten(),
        eb.BatchNorm1d(16, momentum=momentum), eb.Softplus(), eb.Linear(16, 3),
    ]  # fmt: skip
    return image_model(layers, (2, 5, 5))


def mlp_net(momentum: float = 0.1) -> tuple[Any, Stack]:
    layers = [eb.BatchNorm1d(9), eb.Linear(9, 7), eb.BatchNorm1d(7, momentum=momentum), eb.Sigmoid(), eb.Linear(7, 3)]
    return image_model(layers, (9,))


def smooth_pool_net(momentum: float = 0.1) -> tuple[Any, Stack]:
    layers = [eb.Conv2d(1, 3, (2, 3), padding=(1, 0)), eb.MaxPool2d(2, stride=1), eb.GELU(), eb.Linear(18, 3)]
    return image_model(layers, (1, 3, 5))


NETS = {"convolutions": conv_net, "features": mlp_net, "maxima": smooth_pool_net}
LR = 0.05


def assert_trained_as(model: Any, net: Stack, steps: int, tolerance: float = 1e-4) -> None:
    """Parameters are the transcription's, up to a share of what a step may move them."""
    wanted = net.parameters()
    assert list(model.parameters()) == list(wanted)
    for name, p in model.parameters().items():
        bound = tolerance * LR * steps if "running" not in name else 1e-5
        np.testing.assert_allclose(p, wanted[name], rtol=1e-6, atol=bound, err_msg=name)


@pytest.mark.parametrize("make", NETS.values(), ids=NETS.keys())
@pytest.mark.parametrize("steps", [1, 4])
def test_sgd_steps_are_the_transcribed_ones(table: str, make: Any, steps: int) -> None:
    model, net = make()
    x, y = batch(20, net.features), labels(20, 3)
    before = model.parameters()
    for _ in range(steps):
        net.sgd_step(x, y, LR)
    eb.fit(model, x, y, epochs=steps, batch_size=20, optimizer=T.SGD(lr=LR))
    assert_trained_as(model, net, steps)
    for name, p in model.parameters().items():
        if not (name == "1.bias" and "2.running_mean" in before):  # the mean takes such a bias away
            assert (p != before[name]).any(), f"{name} has not moved: the test would see nothing"


@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0])
def test_momentum_is_the_share_of_the_batch_in_the_running_statistics(table: str, momentum: float) -> None:
    model, net = mlp_net(momentum)
    x, y = batch(20, 9), labels(20, 3)
    start = model.parameters()
    net.sgd_step(x, y, LR)
    eb.fit(model, x, y, epochs=1, batch_size=20, optimizer=T.SGD(lr=LR))
    assert_trained_as(model, net, 1)
    after = model.parameters()
    if momentum == 0:
        for name in ("2.running_mean", "2.running_var"):
            np.testing.assert_array_equal(after[name], start[name])
    if momentum == 1:  # all that is left is the batch: what the layer saw has mean 0 and variance 1 under it
        h = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) * start["0.weight"] + start["0.bias"]
        h = h @ start["1.weight"].T + start["1.bias"]
        np.testing.assert_allclose(after["2.running_mean"], h.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(after["2.running_var"], h.var(axis=0, ddof=1), rtol=1e-5)


def test_torch_trains_the_same(table: str) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    layers = [eb.Conv2d(2, 5, 3, padding=1), eb.BatchNorm2d(5, momentum=0.3), eb.Tanh(), eb.AvgPool2d(2, padding=1)]
    model, _ = image_model([*layers, eb.Flatten(), eb.BatchNorm1d(45), eb.Linear(45, 3)], (2, 5, 5))
    theirs = nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5, momentum=0.3), nn.Tanh(), nn.AvgPool2d(2, padding=1),
        nn.Flatten(), nn.BatchNorm1d(45), nn.Linear(45, 3),
    ).double()  # fmt: skip
    state = {n: torch.from_numpy(p).double() for n, p in model.parameters().items()}
    theirs.load_state_dict(state, strict=False)
    x, y = batch(20, 50).reshape(20, 2, 5, 5), labels(20, 3)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=LR)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(theirs(torch.from_numpy(x).double()), torch.from_numpy(y)).backward()
        optimizer.step()
    eb.fit(model, x, y, epochs=3, batch_size=20, optimizer=T.SGD(lr=LR))
    state = theirs.state_dict()
    for name, p in model.parameters().items():
        np.testing.assert_allclose(p, state[name].numpy(), rtol=1e-5, atol=1e-4 * LR * 3, err_msg=name)
    theirs.eval()
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(x).double()).numpy()
    assert_within(model(x), wanted, np.full(wanted.shape, 1e-4), "logits with the running statistics")


@pytest.mark.parametrize("alpha", [0.5, 0.0])
def test_fgsm_training_takes_the_statistics_of_all_rows_it_trains_on(table: str, alpha: float) -> None:
    """The attacked model is the one with running statistics; a step sees clean and attacked rows as one batch."""
    model, net = conv_net()
    x, y = batch(20, 50, low=0.2, high=0.8), labels(20, 3)
    back = net.gradient(x, y)
    decided = (np.abs(back.inputs) > back.input_errors).all(axis=1)
    x, y, signs = x[decided], y[decided], np.sign(back.inputs[decided])
    assert len(x) > 5
    x_adv = x + 0.125 * signs
    n = len(x)
    both, share = x_adv, np.full(n, 1 / n)
    if alpha:
        both, share = np.concatenate([x, x_adv]), np.repeat([alpha / n, (1 - alpha) / n], n)
    net.sgd_step(both, np.tile(y, 2)[: len(both)], LR, share)
    method = T.FGSMTraining(eps=0.125, alpha=alpha)
    eb.fit(model, x, y, method=method, epochs=1, batch_size=n, optimizer=T.SGD(lr=LR))
    assert_trained_as(model, net, 1)


def test_pgd_training_lowers_the_loss_at_pgd_points(table: str) -> None:
    model, net = conv_net()
    x = batch(120, 50)
    y = net.predict(x)
    attack = eb.attacks.PGD(eps=0.05, steps=3, seed=9)
    before = np.mean(attack.run(model, x, y).loss)
    method = T.PGDTraining(eps=0.05, steps=3)
    eb.fit(model, x, y, method=method, epochs=5, batch_size=20, optimizer=T.SGD(lr=0.1))
    assert np.mean(attack.run(model, x, y).loss) < before


def test_dropout_between_images_scales_what_it_keeps(table: str) -> None:
    """From zero weights one logistic step moves weight i by lr / 2 * kept_i / (1 - p)."""
    layers = [eb.AvgPool2d(1), eb.Dropout(0.2), eb.Conv2d(3, 1, (20, 50), bias=False)]
    model = eb.Sequential(layers, input_shape=(3, 20, 50))
    model.load_parameters({"2.weight": np.zeros((1, 3, 20, 50))})
    x = np.ones((1, 3000), np.float32)
    eb.fit(model, x, np.array([1]), epochs=1, batch_size=1, optimizer=T.SGD(lr=1.0))
    moved = model.parameters()["2.weight"]
    kept = moved != 0
    np.testing.assert_allclose(moved[kept], 0.5 / 0.8, rtol=1e-5)
    assert abs(kept.mean() - 0.8) < 5 * np.sqrt(0.2 * 0.8 / 3000)


METHODS = {
    "standard": lambda: T.Standard(),
    "fgsm": lambda: T.FGSMTraining(eps=0.1),
    "pgd": lambda: T.PGDTraining(eps=0.1, steps=2),
    "free": lambda: T.FreeTraining(eps=0.1, replays=2),
    "trades": lambda: T.TRADES(eps=0.1, steps=2),
    "vat": lambda: T.VAT(eps=0.5),
}


def train(method: str, **options: Any) -> bytes:
    model, _ = conv_net(dropout=0.2)
    rows = sized(50, on_emulator=23)
    x, y = batch(rows, 50), labels(rows, 3)
    optimizer = T.SGD(lr=0.1, momentum=0.9, schedule=T.Cosine())
    eb.fit(model, x, y, method=METHODS[method](), epochs=2, batch_size=18, optimizer=optimizer, **options)
    return b"".join(p.tobytes() for p in model.parameters().values())


@pytest.mark.parametrize("method", METHODS)
def test_threads_and_slabs_change_no_bit_of_the_weights(table: str, method: str) -> None:
    use_threads(1)
    one = train(method)
    assert train(method) == one
    assert train(method, seed=1) != one
    for threads in (2, 3):
        use_threads(threads)
        assert train(method) == one
    for rows in (1, 5, 9, 17):
        eb._native.set_slab_rows(rows)
        assert train(method) == one


@pytest.mark.parametrize("method", METHODS)
def test_resumed_run_is_the_uninterrupted_one(tmp_path: Path, method: str) -> None:
    class StopError(Exception):
        pass

    def stop(*_: Any) -> None:
        raise StopError

    path = tmp_path / "run.safetensors"
    with pytest.raises(StopError):
        train(method, checkpoint=path, progress=stop)
    seen: list[int] = []
    assert train(method, checkpoint=path, progress=lambda done, *_: seen.append(done)) == train(method)
    assert seen == [2]


# ---- what cannot be trained


SINGLE: dict[str, tuple[list[Any], tuple[int, ...]]] = {
    "features": ([eb.Linear(4, 3), eb.BatchNorm1d(3)], (4,)),
    "one pixel": ([eb.Conv2d(1, 3, 2), eb.BatchNorm2d(3)], (1, 2, 2)),
}


@pytest.mark.parametrize(("layers", "shape"), SINGLE.values(), ids=SINGLE.keys())
@pytest.mark.parametrize(("rows", "batch_size"), [(4, 1), (5, 2), (1, 100), (101, 100)])
def test_a_batch_of_one_value_per_channel_is_refused_before_anything_is_trained(
    layers: list[Any], shape: tuple[int, ...], rows: int, batch_size: int
) -> None:
    model, _ = image_model(layers, shape)
    before = model.parameters()
    with pytest.raises(ValueError, match=r"^batch_size: "):
        eb.fit(model, batch(rows, 4), labels(rows, 3), epochs=1, batch_size=batch_size)
    for name, p in model.parameters().items():
        np.testing.assert_array_equal(p, before[name])


def test_a_row_of_several_pixels_is_a_batch_that_can_be_trained_on() -> None:
    model, net = image_model([eb.BatchNorm2d(2), eb.Linear(4, 3)], (2, 2, 1))
    x, y = batch(1, 4), labels(1, 3)
    net.sgd_step(x, y, LR)
    eb.fit(model, x, y, epochs=1, batch_size=1, optimizer=T.SGD(lr=LR))
    assert_trained_as(model, net, 1)


def test_clean_and_attacked_rows_together_are_more_than_one() -> None:
    model, _ = mlp_net()
    eb.fit(model, batch(3, 9), labels(3, 3), epochs=1, batch_size=1, method=T.FGSMTraining(eps=0.1, alpha=0.5))
    with pytest.raises(ValueError, match=r"^batch_size: "):
        eb.fit(model, batch(3, 9), labels(3, 3), epochs=1, batch_size=1, method=T.PGDTraining(eps=0.1, steps=1))


@pytest.mark.parametrize("value", [-1e-3, -1.0])
def test_a_negative_running_variance_is_refused_by_name_and_changes_nothing(value: float) -> None:
    model, _ = mlp_net()
    before = model.parameters()
    wrong = {**before, "0.weight": np.zeros(9), "2.running_var": np.where(np.arange(7) == 3, value, 1.0)}
    with pytest.raises(ValueError, match=r"2\.running_var"):
        model.load_parameters(wrong)
    for name, p in model.parameters().items():
        np.testing.assert_array_equal(p, before[name])
    model.load_parameters({**before, "2.running_var": np.zeros(7)})  # a constant feature


def test_oracle_s_own_gradient_is_the_slope_of_its_training_loss() -> None:
    """The transcription that the others are compared with, by central differences in float64."""
    _, net = conv_net()
    x, y = batch(6, 50).astype(np.float64), labels(6, 3)
    run = net.forward(x, training=True)
    g = oracle.loss_gradient("cross_entropy", run.logits, y)
    back = net.backward(run, g, training=True)

    def loss() -> float:
        return float(oracle.loss("cross_entropy", net.forward(x, training=True).logits, y).sum())

    for name, p in net.parameters().items():
        if "running" in name:
            continue
        at, h = np.unravel_index(p.size // 2, p.shape), 1e-6
        p[at] += h
        high = loss()
        p[at] -= 2 * h
        low = loss()
        p[at] += h
        assert abs((high - low) / (2 * h) - back.by_name[name][0][at]) < 1e-7
    for i in (0, 17, 49):
        x[2, i] += 1e-6
        high = loss()
        x[2, i] -= 2e-6
        low = loss()
        x[2, i] += 1e-6
        assert abs((high - low) / 2e-6 - back.inputs[2, i]) < 1e-7
