"""Training: optimisers against a float64 transcription, dropout, history, checkpoints, reproducibility."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
import every_attack
import oracle
from cases import batch, engine, labels, pair, sized, use_threads
from epsball.training.method import Method
from oracle import Net, random_net

T = eb.training
KEYS = {
    "epoch", "train_loss", "train_clean_error", "train_adversarial_error", "test_clean_error",
    "test_adversarial_error", "seconds", "sample_steps", "learning_rate",
}  # fmt: skip


def same_bits(one: Any, other: Any) -> bool:
    a, b = one.parameters(), other.parameters()
    return list(a) == list(b) and all(a[n].tobytes() == b[n].tobytes() for n in a)


# ---- optimisers: full-batch epochs, so that the order of rows does not matter


class Transcription:
    """The optimisers as their papers (and torch) write them, in float64; decay is added to the gradient."""

    def __init__(self, net: Net, rule: str, **options: Any) -> None:
        self.net, self.rule, self.o = net, rule, options
        self.first = [np.zeros_like(p) for p in self.values()]
        self.second = [np.zeros_like(p) for p in self.values()]
        self.t = 0

    def values(self) -> list[oracle.Array]:
        pairs = zip(self.net.weights, self.net.biases, strict=True)
        return [p for pair_ in pairs for p in pair_]

    def step(self, gradients: list[oracle.Array], lr: float) -> None:
        self.t += 1
        o = self.o
        if "clip_norm" in o:
            norm = np.sqrt(sum((g**2).sum() for g in gradients))
            gradients = [g * min(1.0, o["clip_norm"] / norm) for g in gradients]
        for i, (p, g) in enumerate(zip(self.values(), gradients, strict=True)):
            decay = o.get("weight_decay", 0.01 if self.rule == "adamw" else 0.0)
            if self.rule == "adamw":  # decoupled
                p *= 1 - lr * decay
                decay = 0.0
            g = g + decay * p + o.get("l1", 0.0) * np.sign(p)
            if self.rule == "sgd":
                mu = o.get("momentum", 0.0)
                self.first[i] = mu * self.first[i] + g
                p -= lr * (g + mu * self.first[i] if o.get("nesterov") else self.first[i])
            else:
                b1, b2 = o.get("betas", (0.9, 0.999))
                self.first[i] = b1 * self.first[i] + (1 - b1) * g
                self.second[i] = b2 * self.second[i] + (1 - b2) * g * g
                m = self.first[i] / (1 - b1**self.t)
                v = self.second[i] / (1 - b2**self.t)
                p -= lr * m / (np.sqrt(v) + o.get("eps", 1e-8))
            if "max_norm" in o and p.ndim == 2:  # of the weights into each unit
                norms = np.sqrt((p**2).sum(axis=1, keepdims=True))
                p *= np.minimum(1.0, o["max_norm"] / norms)


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("sgd", {"weight_decay": 0.1}),
    ("sgd", {"l1": 0.05}),
    ("sgd", {"momentum": 0.5, "weight_decay": 0.1, "l1": 0.05}),
    ("adam", {}),
    ("adam", {"betas": (0.5, 0.9)}),
    ("adam", {"eps": 0.1}),  # large enough to see that it is added after the root
    ("adam", {"weight_decay": 0.1, "l1": 0.05}),
    ("adamw", {}),
    ("adamw", {"weight_decay": 0.5, "betas": (0.5, 0.9)}),
    ("sgd", {"clip_norm": 0.05, "momentum": 0.9}),
    ("sgd", {"clip_norm": 1e3}),
    ("sgd", {"max_norm": 0.9}),
    ("adam", {"clip_norm": 1e-3, "eps": 1e-3, "max_norm": 1.2}),
]
LR = {"sgd": 0.1, "adam": 0.01, "adamw": 0.01}
RULES = {"sgd": T.SGD, "adam": T.Adam, "adamw": T.AdamW}
# An Adam step divides the gradient by its own size, so a relative error of the smallest gradients
# (about 1e-4 in float32 here) becomes the same share of lr.
STEP_RTOL = {"sgd": 1e-4, "adam": 1e-3, "adamw": 1e-3}


def biasless(net: Net) -> Net:
    return Net(net.weights, [np.zeros_like(b) for b in net.biases], net.activation)


def engine_without_bias(net: Net) -> Any:
    layers: list[Any] = []
    for i, w in enumerate(net.weights):
        layers += [eb.Tanh()] if i else []
        layers.append(eb.Linear(w.shape[1], w.shape[0], bias=False))
    model = eb.Sequential(layers, input_shape=(net.features,))
    values = [w.astype(np.float32) for w in net.weights]
    model.load_parameters(dict(zip(model.parameters(), values, strict=True)))
    return model


@pytest.mark.parametrize(("rule", "options"), OPTIMIZERS, ids=str)
@pytest.mark.parametrize("steps", [1, 3])
def test_optimizer_steps_are_the_transcribed_ones(table: str, rule: str, options: dict[str, Any], steps: int) -> None:
    net = biasless(random_net([7, 9, 3], "tanh"))
    model = engine_without_bias(net)
    x, y = batch(20, 7), labels(20, 3)
    start = [w.copy() for w in net.weights]
    by_hand = Transcription(net, rule, **options)
    for _ in range(steps):
        grads = [g / len(x) for g, _ in net.gradient(x, y).parameters()]
        grads = [g if i % 2 == 0 else np.zeros_like(g) for i, g in enumerate(grads)]  # no biases
        by_hand.step(grads, LR[rule])
    optimizer = RULES[rule](lr=LR[rule], **options)
    eb.fit(model, x, y, epochs=steps, batch_size=20, optimizer=optimizer)
    for p, wanted, before in zip(model.parameters().values(), net.weights, start, strict=True):
        assert np.abs(wanted - before).max() > 0.1 * LR[rule] * steps * 0.01
        np.testing.assert_allclose(p, wanted, rtol=0, atol=STEP_RTOL[rule] * LR[rule] * steps)


def test_clipping_and_the_constraint_bite_where_they_are_tested() -> None:
    """The transcribed cases above are not the unconstrained ones."""
    net = biasless(random_net([7, 9, 3], "tanh"))
    grads = [g for g, _ in net.gradient(batch(20, 7), labels(20, 3)).parameters()]
    assert np.sqrt(sum((g**2).sum() for g in grads)) / 20 > 0.05
    norms = np.concatenate([np.sqrt((w**2).sum(axis=1)) for w in net.weights])
    assert (norms > 1.2).any()
    assert (norms < 0.9).any()


def test_averaged_weights_are_the_transcribed_ones(table: str) -> None:
    """a <- a + max(1 - average, 9 / (10 + t)) (p - a) after update t."""
    net = biasless(random_net([7, 9, 3], "tanh"))
    model = engine_without_bias(net)
    x, y = batch(20, 7), labels(20, 3)
    by_hand = Transcription(net, "sgd")
    averages = [w.copy() for w in net.weights]
    for t in range(1, 31):
        grads = [g / len(x) for g, _ in net.gradient(x, y).parameters()]
        by_hand.step([g if i % 2 == 0 else np.zeros_like(g) for i, g in enumerate(grads)], 0.1)
        share = max(1 - 0.7, 9 / (10 + t))
        averages = [a + share * (w - a) for a, w in zip(averages, net.weights, strict=True)]
    history = eb.fit(model, x, y, epochs=30, batch_size=20, optimizer=T.SGD(lr=0.1, average=0.7))
    for p, wanted, last in zip(model.parameters().values(), averages, net.weights, strict=True):
        assert np.abs(wanted - last).max() > 1e-3
        np.testing.assert_allclose(p, wanted, rtol=0, atol=1e-5)
    assert history.epochs[-1]["train_clean_error"] == np.mean(model.predict(x) != y)  # of the averaged weights


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "margin", "hinge", "crammer_singer"])
def test_biases_and_losses_train_too(table: str, loss: str, classes: int) -> None:
    model, net = pair([7, 9, classes], "tanh")
    x, y = batch(20, 7), labels(20, classes)
    by_hand = Transcription(net, "sgd")
    for _ in range(2):
        by_hand.step([g / len(x) for g, _ in net.gradient(x, y, loss).parameters()], 0.05)
    eb.fit(model, x, y, epochs=2, batch_size=20, optimizer=T.SGD(lr=0.05), loss=loss)
    for p, wanted in zip(model.parameters().values(), by_hand.values(), strict=True):
        np.testing.assert_allclose(p, wanted, rtol=0, atol=1e-4 * 0.05 * 2 * 10)


def test_l1_decay_leaves_exact_zeros_where_there_is_no_gradient(table: str) -> None:
    model = eb.Sequential([eb.Linear(4, 2, bias=False)], input_shape=(4,))
    w = np.array([[0.0, 0.5, -0.5, 0.0], [0.0, -0.5, 0.5, 0.0]], np.float32)
    model.load_parameters({"0.weight": w})
    x = np.array([[0.0, 1.0, 0.0, 0.0]], np.float32)  # features 0, 2, 3 are silent
    eb.fit(model, x, np.array([0]), epochs=1, batch_size=1, optimizer=T.SGD(lr=0.1, l1=0.25))
    after = model.parameters()["0.weight"]
    np.testing.assert_array_equal(after[:, [0, 3]], 0.0)
    np.testing.assert_allclose(after[:, 2], [-0.475, 0.475], rtol=1e-6)


def test_a_short_batch_is_averaged_over_its_own_rows(table: str) -> None:
    x, y = batch(12, 7), labels(12, 3)
    models = [engine(random_net([7, 9, 3], "tanh")) for _ in range(2)]
    for model, size in zip(models, (12, 1000), strict=True):
        eb.fit(model, x, y, epochs=2, batch_size=size, optimizer=T.SGD(lr=0.1))
    assert same_bits(*models)


def test_every_row_is_seen_once_per_epoch(table: str) -> None:
    """With a constant gradient per row, sum of updates = sum over rows, whatever the order."""
    model = eb.Sequential([eb.Linear(23, 1, bias=False)], input_shape=(23,))
    model.load_parameters({"0.weight": np.zeros((1, 23), np.float32)})
    x = np.eye(23, dtype=np.float32)  # row i touches weight i alone
    eb.fit(model, x, np.ones(23, int), epochs=1, batch_size=5, optimizer=T.SGD(lr=1.0))
    # Each weight moved once, by 0.5 over the size of its batch : four batches of 5, one of 3.
    moved = np.sort(model.parameters()["0.weight"][0])
    np.testing.assert_allclose(moved, [0.1] * 20 + [0.5 / 3] * 3, rtol=1e-5)


# ---- adversarial methods


def test_fgsm_training_descends_the_mixed_loss(table: str) -> None:
    """alpha J(x) + (1 - alpha) J(x + eps sign grad), the adversarial point held constant (1412.6572)."""
    for alpha in (0.5, 0.9, 0.0):
        model, net = pair([7, 9, 3], "tanh")
        x, y = batch(20, 7, low=0.3, high=0.7), labels(20, 3)
        back = net.gradient(x, y)
        assert (np.abs(back.inputs) > back.input_errors).all(), "an undecided sign: choose another seed"
        x_adv = oracle.fgsm(net, x, y, 0.125, bounds=None)
        mixed = [
            (alpha * a + (1 - alpha) * b) / len(x)
            for (a, _), (b, _) in zip(back.parameters(), net.gradient(x_adv, y).parameters(), strict=True)
        ]
        by_hand = Transcription(net, "sgd")
        by_hand.step(mixed, 0.1)
        eb.fit(
            model, x, y, method=T.FGSMTraining(eps=0.125, alpha=alpha), epochs=1, batch_size=20,
            optimizer=T.SGD(lr=0.1),
        )  # fmt: skip
        for p, wanted in zip(model.parameters().values(), by_hand.values(), strict=True):
            np.testing.assert_allclose(p, wanted, rtol=0, atol=1e-4 * 0.1)


def test_ramp_lets_eps_and_steps_grow_linearly(table: str) -> None:
    """One epoch per batch: the budget of epoch i of 4 is that of a run at eps i / 2, up to the whole."""
    x, y = batch(30, 7, low=0.3, high=0.7), labels(30, 3)
    model, by_hand = (engine(random_net([7, 9, 3], "tanh")) for _ in range(2))
    method = T.PGDTraining(eps=0.125, steps=2, step_size=0.0625, random_start=False, ramp=0.5)
    eb.fit(model, x, y, method=method, epochs=4, batch_size=30, optimizer=T.SGD(lr=0.1))
    for share in (0.0, 0.5, 1.0, 1.0):
        fixed = replace(method, eps=0.125 * share, step_size=0.0625 * share, ramp=0.0)
        eb.fit(by_hand, x, y, method=fixed, epochs=1, batch_size=30, optimizer=T.SGD(lr=0.1))
    for p, q in zip(model.parameters().values(), by_hand.parameters().values(), strict=True):
        np.testing.assert_allclose(p, q, rtol=0, atol=1e-6)


def test_ramp_lets_the_length_of_vat_grow_from_nothing(table: str) -> None:
    """Of two epochs of one batch each, the first has no r, the second half of it."""
    x, y = batch(30, 7, low=0.3, high=0.7), labels(30, 3)

    def trained(**options: float) -> eb.Sequential:
        model = engine(random_net([7, 9, 3], "tanh"))
        eb.fit(model, x, y, method=T.VAT(**options), epochs=epochs, batch_size=30, optimizer=T.SGD(lr=0.1))
        return model

    epochs = 1
    assert same_bits(trained(eps=0.5, ramp=1.0), trained(eps=0.0))
    assert not same_bits(trained(eps=0.5), trained(eps=0.0))
    epochs = 2
    assert not same_bits(trained(eps=0.5, ramp=1.0), trained(eps=0.0))
    assert not same_bits(trained(eps=0.5, ramp=1.0), trained(eps=0.5))


def test_half_clean_training_descends_both_losses(table: str) -> None:
    x, y = batch(30, 7, low=0.3, high=0.7), labels(30, 3)
    models = [engine(random_net([7, 9, 3], "tanh")) for _ in range(2)]
    pgd = T.PGDTraining(eps=0.1, steps=1, step_size=0.1, random_start=False, bounds=None, clean_weight=0.25)
    for model, method in zip(models, (pgd, T.FGSMTraining(eps=0.1, alpha=0.25)), strict=True):
        eb.fit(model, x, y, method=method, epochs=2, batch_size=10, optimizer=T.SGD(lr=0.1))
    assert same_bits(*models)


@pytest.mark.parametrize("make", [lambda: T.FGSMTraining(eps=0.0, alpha=0.0), lambda: T.PGDTraining(eps=0.0, steps=3)])
def test_adversarial_training_without_a_budget_is_standard_training(table: str, make: Any) -> None:
    x, y = batch(30, 7), labels(30, 3)
    models = [engine(random_net([7, 9, 3], "tanh")) for _ in range(2)]
    for model, method in zip(models, (T.Standard(), make()), strict=True):
        eb.fit(model, x, y, method=method, epochs=2, batch_size=10, optimizer=T.SGD(lr=0.1))
    for p, q in zip(models[0].parameters().values(), models[1].parameters().values(), strict=True):
        np.testing.assert_allclose(p, q, rtol=0, atol=1e-6)


def test_pgd_training_lowers_the_loss_at_pgd_points(table: str) -> None:
    model, net = pair([7, 17, 3], "relu")
    x = batch(200, 7)
    y = net.predict(x)
    attack = eb.attacks.PGD(eps=0.1, steps=5, seed=9)
    before = np.mean(attack.run(model, x, y).loss)
    eb.fit(
        model, x, y, method=T.PGDTraining(eps=0.1, steps=5), epochs=5, batch_size=20,
        optimizer=T.SGD(lr=0.1),
    )  # fmt: skip
    assert np.mean(attack.run(model, x, y).loss) < before


# ---- schedules


def rates(schedule: Any, epochs: int, lr: float = 0.5) -> list[float]:
    model, _ = pair([5, 3])
    optimizer = T.SGD(lr=lr, schedule=schedule)
    history = eb.fit(model, batch(40, 5), labels(40, 3), epochs=epochs, batch_size=4, optimizer=optimizer)
    return history.columns("learning_rate")


def test_constant_schedule_keeps_the_rate() -> None:
    assert rates(T.Constant(), 4) == pytest.approx([0.5] * 4, rel=1e-6)
    assert rates(None, 4) == pytest.approx([0.5] * 4, rel=1e-6)


def test_step_schedule_multiplies_every_few_epochs() -> None:
    assert rates(T.Step(every=2, factor=0.1), 5) == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005], rel=1e-5)


def test_cosine_schedule_falls_to_its_final_value() -> None:
    falling = rates(T.Cosine(), 20)
    assert all(a > b for a, b in pairwise(falling))
    assert falling[0] <= 0.5
    assert 0 <= falling[-1] < 0.02 * 0.5  # (1 + cos(pi 19/20)) / 2 = .006
    higher = rates(T.Cosine(final=0.1), 20)
    assert higher[-1] > falling[-1]


def test_cyclic_schedule_rises_to_its_peak_and_falls() -> None:
    cycle = rates(T.Cyclic(peak=0.4), 20)
    top = int(np.argmax(cycle))
    assert 6 <= top <= 9  # two fifths of 20 epochs
    assert max(cycle) == pytest.approx(0.5, rel=0.15)
    assert all(a < b for a, b in pairwise(cycle[: top + 1]))
    assert all(a > b for a, b in pairwise(cycle[top:]))


def test_piecewise_schedule_interpolates_between_its_points() -> None:
    schedule = T.Piecewise([(0.2, 0.5), (0.5, 1.0), (1.0, 0.0)])
    wanted = [0.5, 0.5, 0.5, 2 / 3, 5 / 6, 1.0, 0.8, 0.6, 0.4, 0.2]
    assert rates(schedule, 10, lr=1.0) == pytest.approx(wanted, rel=1e-5)


def test_warm_up_multiplies_another_schedule() -> None:
    wanted = [0.0, 0.5 * np.cos(np.pi / 16) ** 2, *(np.cos(np.pi * i / 16) ** 2 for i in range(2, 8))]
    assert rates(T.WarmUp(2, T.Cosine()), 8, lr=1.0) == pytest.approx(wanted, rel=1e-5)
    assert rates(T.WarmUp(2), 4) == pytest.approx([0.0, 0.25, 0.5, 0.5], rel=1e-5)


def test_scheduled_rate_is_the_one_used(table: str) -> None:
    model, net = pair([7, 9, 3], "tanh")
    x, y = batch(20, 7), labels(20, 3)
    optimizer = T.SGD(lr=0.1, schedule=T.Step(every=1, factor=0.5))
    history = eb.fit(model, x, y, epochs=3, batch_size=20, optimizer=optimizer)
    by_hand = Transcription(net, "sgd")
    for lr in (0.1, 0.05, 0.025):
        by_hand.step([g / len(x) for g, _ in net.gradient(x, y).parameters()], lr)
    assert history.columns("learning_rate") == pytest.approx([0.1, 0.05, 0.025], rel=1e-5)
    for p, wanted in zip(model.parameters().values(), by_hand.values(), strict=True):
        np.testing.assert_allclose(p, wanted, rtol=0, atol=1e-4 * 0.1)


# ---- early stopping


def overfit(epochs: int = 30, patience: int | None = 3, **options: Any) -> tuple[Any, Any]:
    """Few rows of random labels: the error on others wanders."""
    model = student()
    x, y, xv, yv = batch(30, 9, seed=1), labels(30, 3), batch(50, 9, seed=2), labels(50, 3)
    history = eb.fit(
        model, x, y, method=T.FGSMTraining(eps=0.05), epochs=epochs, batch_size=10, validation=(xv, yv),
        patience=patience, optimizer=T.SGD(lr=0.5), **options,
    )  # fmt: skip
    return model, history


def test_patience_ends_with_the_weights_of_the_lowest_adversarial_error() -> None:
    model, history = overfit()
    errors = history.columns("test_adversarial_error")
    best = int(np.argmin(errors))
    assert len(errors) == best + 1 + 3 < 30, "the run was to stop three epochs after its best"
    assert same_bits(model, overfit(epochs=best + 1, patience=None)[0])
    x, y = batch(50, 9, seed=2), labels(50, 3)
    assert history.attack.run(model, x, y).success.mean() == pytest.approx(min(errors), abs=1e-9)


def test_patience_resumes_bit_identically(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    whole, history = overfit()

    class StopError(Exception):
        pass

    for stop in range(1, len(history.epochs) + 1):

        def interrupt(done: int, *_: Any, at: int = stop) -> None:
            if done == at:
                raise StopError

        with pytest.raises(StopError):
            overfit(checkpoint=path, progress=interrupt)
    model, again = overfit(checkpoint=path)
    assert same_bits(model, whole)
    assert again.columns("test_adversarial_error") == history.columns("test_adversarial_error")


def test_patience_without_validation_is_an_error(data: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"patience: .*validation"):
        eb.fit(student(), data["x"], data["y"], patience=2)


# ---- dropout


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_dropout_scales_what_it_keeps_and_drops_the_right_share(table: str, p: float) -> None:
    """From zero weights one logistic step moves weight i by lr / 2 * kept_i / (1 - p)."""
    features = 4000
    model = eb.Sequential([eb.Dropout(p=p), eb.Linear(features, 1, bias=False)], input_shape=(features,))
    model.load_parameters({"1.weight": np.zeros((1, features), np.float32)})
    eb.fit(
        model, np.ones((1, features), np.float32), np.array([1]), epochs=1, batch_size=1,
        optimizer=T.SGD(lr=1.0),
    )  # fmt: skip
    moved = model.parameters()["1.weight"][0]
    kept = moved != 0
    np.testing.assert_allclose(moved[kept], 0.5 / (1 - p), rtol=1e-5)
    assert abs(kept.mean() - (1 - p)) < 5 * np.sqrt(p * (1 - p) / features)  # five deviations


def test_rows_of_a_batch_drop_different_units(table: str) -> None:
    features = 400
    model = eb.Sequential([eb.Dropout(p=0.5), eb.Linear(features, 1, bias=False)], input_shape=(features,))
    model.load_parameters({"1.weight": np.zeros((1, features), np.float32)})
    x = np.ones((2, features), np.float32)
    x[1] = 0.5  # weights move by 0.5 [row 0 kept] + 0.25 [row 1 kept], over 2 rows and (1 - p)
    eb.fit(model, x, np.array([1, 1]), epochs=1, batch_size=2, optimizer=T.SGD(lr=1.0))
    moved = model.parameters()["1.weight"][0]
    values, counts = np.unique(np.round(moved, 4), return_counts=True)
    np.testing.assert_allclose(values, [0.0, 0.25, 0.5, 0.75], atol=1e-4)
    assert (np.abs(counts / features - 0.25) < 5 * np.sqrt(0.25 * 0.75 / features)).all()


def test_dropout_is_idle_outside_training(table: str) -> None:
    plain, net = pair([9, 16, 4], "relu")
    layers = [eb.Linear(9, 16), eb.ReLU(), eb.Dropout(p=0.5), eb.Linear(16, 4)]
    model = eb.Sequential(layers, input_shape=(9,))
    model.load_parameters(dict(zip(model.parameters(), net.parameters(), strict=True)))
    x, y = batch(20, 9), labels(20, 4)
    np.testing.assert_array_equal(model(x), plain(x))
    np.testing.assert_array_equal(model.input_gradient(x, y), plain.input_gradient(x, y))
    np.testing.assert_array_equal(eb.fgsm(model, x, y, eps=0.1), eb.fgsm(plain, x, y, eps=0.1))


# ---- history


@pytest.fixture
def data() -> dict[str, np.ndarray]:
    """A learnable problem: labels of a hidden linear model."""
    teacher = random_net([9, 3], seed=5, scale=4.0)
    x, xv = batch(sized(300, on_emulator=70), 9, seed=1), batch(sized(120, on_emulator=40), 9, seed=2)
    return {"x": x, "y": teacher.predict(x), "xv": xv, "yv": teacher.predict(xv)}


def student(dropout: float = 0.0) -> Any:
    return eb.models.mlp([9, 17, 3], activation="relu", dropout=dropout, seed=1)


def test_history_records_what_the_model_does(table: str, data: dict[str, np.ndarray]) -> None:
    model = student()
    seen: list[tuple[int, int, dict[str, Any]]] = []
    validation = (data["xv"], data["yv"])
    history = eb.fit(
        model, data["x"], data["y"], epochs=3, batch_size=30, validation=validation,
        progress=lambda done, total, record: seen.append((done, total, dict(record))),
    )  # fmt: skip
    assert [set(r) for r in history.epochs] == [KEYS] * 3
    assert [(d, t) for d, t, _ in seen] == [(1, 3), (2, 3), (3, 3)]
    assert [r for _, _, r in seen] == history.epochs
    assert history.columns("train_loss") == [r["train_loss"] for r in history.epochs]
    assert history.columns("train_loss")[-1] < history.columns("train_loss")[0]
    last = history.epochs[-1]
    assert history.attack == eb.attacks.FGSM(eps=0.25, bounds=None)
    rows = len(data["xv"])  # errors of training are those of as many rows
    for prefix, x, y in (("test", *validation), ("train", data["x"][:rows], data["y"][:rows])):
        assert last[f"{prefix}_clean_error"] == pytest.approx(np.mean(model.predict(x) != y), abs=1e-9)
        fooled = history.attack.run(model, x, y).success.mean()
        assert last[f"{prefix}_adversarial_error"] == pytest.approx(fooled, abs=1e-9)
    for record in history.epochs:
        assert record["seconds"] > 0
        assert record["sample_steps"] > 0
        assert record["learning_rate"] > 0
        assert all(v is None or np.isfinite(v) for v in record.values())
    assert history.to_dict()


def test_history_without_validation_has_no_test_errors(data: dict[str, np.ndarray]) -> None:
    last = eb.fit(student(), data["x"], data["y"], epochs=1).epochs[-1]
    assert last["test_clean_error"] is None
    assert last["test_adversarial_error"] is None
    assert 0 <= last["train_clean_error"] <= last["train_adversarial_error"] <= 1


def test_monitor_is_the_attack_recorded(data: dict[str, np.ndarray]) -> None:
    monitor = eb.attacks.PGD(eps=0.05, steps=3)
    model = student()
    history = eb.fit(model, data["x"], data["y"], epochs=1, validation=(data["xv"], data["yv"]), monitor=monitor)
    assert history.attack == monitor
    fooled = monitor.run(model, data["xv"], data["yv"]).success.mean()
    assert history.epochs[-1]["test_adversarial_error"] == pytest.approx(fooled, abs=1e-9)


@pytest.mark.parametrize("name", every_attack.NETWORKS)
def test_every_attack_may_be_the_monitor(name: str) -> None:
    x, y = every_attack.images(12), np.arange(12) % every_attack.CLASSES
    model, attack = eb.models.mlp([16, 6, every_attack.CLASSES]), every_attack.MAKE[name]()
    history = eb.fit(model, x, y, epochs=1, monitor=attack)
    assert history.epochs[0]["train_adversarial_error"] == attack.run(model, x, y).success.mean()


def test_monitoring_does_not_disturb_training(table: str, data: dict[str, np.ndarray]) -> None:
    one, other = student(0.3), student(0.3)
    eb.fit(one, data["x"], data["y"], epochs=2)
    eb.fit(
        other, data["x"], data["y"], epochs=2, validation=(data["xv"], data["yv"]),
        monitor=eb.attacks.PGD(eps=0.1, steps=2), progress=lambda *_: None,
    )  # fmt: skip
    assert same_bits(one, other)


def test_zero_epochs_change_nothing(data: dict[str, np.ndarray]) -> None:
    model = student()
    history = eb.fit(model, data["x"], data["y"], epochs=0)
    assert history.epochs == []
    assert same_bits(model, student())


# ---- the same bits again


METHODS = {
    "standard": lambda: T.Standard(),
    "fgsm": lambda: T.FGSMTraining(eps=0.1),
    "pgd": lambda: T.PGDTraining(eps=0.1, steps=2),
    "ramped": lambda: T.PGDTraining(eps=0.1, steps=2, ramp=0.5, clean_weight=0.5),
    "predicted": lambda: T.FGSMTraining(eps=0.1, labels="predicted"),
    "l2": lambda: T.PGDTraining(eps=0.3, steps=2, norm="l2"),
    "rfgsm": lambda: T.RFGSMTraining(eps=0.1),
    "fast": lambda: T.FastTraining(eps=0.1),
    "free": lambda: T.FreeTraining(eps=0.1, replays=2),
    "trades": lambda: T.TRADES(eps=0.1, steps=2),
    "mart": lambda: T.MART(eps=0.1, steps=2),
    "alp": lambda: T.ALP(eps=0.1, steps=2),
    "clp": lambda: T.CLP(),
    "squeezing": lambda: T.LogitSqueezing(),
    "smoothing": lambda: T.LabelSmoothing(),
    "noise": lambda: T.NoiseTraining(kind="signs"),
    "gaussian": lambda: T.SmoothingTraining(),
    "ibp": lambda: T.IBPTraining(eps=0.05, warmup=0.1),
    "vat": lambda: T.VAT(eps=0.5),
    "ensemble": lambda: T.EnsembleTraining(eps=0.1, models=(eb.models.linear(9, 3, seed=4),)),
    "double": lambda: T.DoubleBackprop(lam=0.1),
    "distilled": lambda: T.Distillation(3.0, eb.models.linear(9, 3, seed=4)),
}


def test_no_method_of_the_package_is_missing_here() -> None:
    classes = {c for c in vars(T).values() if isinstance(c, type) and issubclass(c, Method)}
    # Of a logistic regression alone: FGSMTraining with a closed form's gradient, and tests of its own.
    assert {type(make()) for make in METHODS.values()} == classes - {T.LinearTraining}


def train(data: dict[str, np.ndarray], method: str = "pgd", seed: int = 0, **options: Any) -> Any:
    model = student(dropout=0.0 if method in ("double", "ibp") else 0.2)
    optimizer = T.SGD(lr=0.1, momentum=0.9, weight_decay=1e-3, schedule=T.Cosine())
    eb.fit(
        model, data["x"], data["y"], method=METHODS[method](), batch_size=32, seed=seed,
        **{"epochs": 3, "optimizer": optimizer, **options},
    )  # fmt: skip
    return model


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_bits_other_seed_others(table: str, data: dict[str, np.ndarray], method: str) -> None:
    assert same_bits(train(data, method), train(data, method))
    assert not same_bits(train(data, method), train(data, method, seed=1))


@pytest.mark.parametrize("method", METHODS)
def test_number_of_threads_does_not_matter(table: str, data: dict[str, np.ndarray], method: str) -> None:
    use_threads(1)
    one = train(data, method)
    for threads in (2, 3):
        use_threads(threads)
        assert same_bits(one, train(data, method))


@pytest.mark.parametrize("method", METHODS)
def test_size_of_slabs_does_not_matter(table: str, data: dict[str, np.ndarray], method: str) -> None:
    automatic = train(data, method, epochs=2)
    for rows in (1, 5, 14):
        eb._native.set_slab_rows(rows)
        assert same_bits(automatic, train(data, method, epochs=2))


@pytest.mark.parametrize("method", METHODS)
def test_resumed_run_is_the_uninterrupted_one(tmp_path: Path, data: dict[str, np.ndarray], method: str) -> None:
    path = tmp_path / "run.safetensors"
    whole = train(data, method, epochs=4)

    class StopError(Exception):
        pass

    def stop_after_two(done: int, *_: Any) -> None:
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        train(data, method, epochs=4, checkpoint=path, progress=stop_after_two)
    assert path.exists()
    seen: list[int] = []
    resumed = train(data, method, epochs=4, checkpoint=path, progress=lambda done, *_: seen.append(done))
    assert seen in ([2, 3, 4], [3, 4])  # at most one epoch is done again
    assert same_bits(whole, resumed)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


OPTIMIZER_STATES = {
    "adam": T.Adam(0.01, clip_norm=0.05, max_norm=1.0, average=0.9, schedule=T.Cosine()),
    "adamw": T.AdamW(0.01, l1=1e-4, schedule=T.Cyclic()),
    "nesterov": T.SGD(0.1, momentum=0.9, nesterov=True, average=0.9, max_norm=1.0),
}


@pytest.mark.parametrize("kind", OPTIMIZER_STATES)
def test_all_that_an_optimizer_remembers_survives_a_resumption(
    tmp_path: Path, data: dict[str, np.ndarray], kind: str
) -> None:
    """Moments, their number, and the averaged weights, beside the last ones."""

    class StopError(Exception):
        pass

    def stop_after_two(done: int, *_: Any) -> None:
        if done == 2:
            raise StopError

    options = {"optimizer": OPTIMIZER_STATES[kind], "epochs": 4}
    whole, path = train(data, **options), tmp_path / "run.safetensors"
    with pytest.raises(StopError):
        train(data, **options, checkpoint=path, progress=stop_after_two)
    assert same_bits(whole, train(data, **options, checkpoint=path))


@pytest.mark.parametrize("kind", OPTIMIZER_STATES)
def test_number_of_threads_does_not_matter_to_an_optimizer(table: str, data: dict[str, np.ndarray], kind: str) -> None:
    use_threads(1)
    one = train(data, optimizer=OPTIMIZER_STATES[kind])
    for threads in (2, 3):
        use_threads(threads)
        assert same_bits(one, train(data, optimizer=OPTIMIZER_STATES[kind]))


def test_finished_checkpoint_is_restored_with_its_history(tmp_path: Path, data: dict[str, np.ndarray]) -> None:
    path = tmp_path / "run.safetensors"
    whole = train(data, checkpoint=path)
    model = student(dropout=0.2)
    optimizer = T.SGD(lr=0.1, momentum=0.9, weight_decay=1e-3, schedule=T.Cosine())
    history = eb.fit(
        model, data["x"], data["y"], method=METHODS["pgd"](), batch_size=32, optimizer=optimizer,
        epochs=3, checkpoint=path,
    )  # fmt: skip
    assert same_bits(whole, model)
    assert [r["epoch"] for r in history.epochs] == [r["epoch"] for r in history.to_dict()["epochs"]]
    assert len(history.epochs) == 3


def test_checkpoint_of_another_run_is_refused(tmp_path: Path, data: dict[str, np.ndarray]) -> None:
    path = tmp_path / "run.safetensors"
    train(data, checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint"):
        eb.fit(eb.models.linear(9, 3), data["x"], data["y"], epochs=5, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"checkpoint|run\.safetensors"):
        train(data, checkpoint=path)


def test_a_checkpoint_of_which_any_bit_has_changed_is_refused(tmp_path: Path) -> None:
    path, x, y = tmp_path / "run.safetensors", batch(20, 3), labels(20, 2)

    def run() -> None:
        eb.fit(eb.models.linear(3, 2), x, y, epochs=2, checkpoint=path)

    run()
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in (*rng.integers(0, len(whole), 40), len(whole) - 1):  # headers and weights
        bits = bytearray(whole)
        bits[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bits)
        with pytest.raises(ValueError, match=r"checkpoint|run\.safetensors"):
            run()
    path.write_bytes(whole)
    run()


def test_checkpoint_that_cannot_be_written_is_an_error_before_the_first_update(
    tmp_path: Path, data: dict[str, np.ndarray]
) -> None:
    model = eb.models.linear(9, 3)
    before = model.parameters()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        eb.fit(model, data["x"], data["y"], epochs=1, checkpoint=tmp_path / "nowhere" / "run.safetensors")
    assert all(np.array_equal(p, before[name]) for name, p in model.parameters().items())


def test_checkpoint_in_a_read_only_folder_is_an_error_before_the_first_update(
    read_only_folder: Path, data: dict[str, np.ndarray]
) -> None:
    model = eb.models.linear(9, 3)
    before = model.parameters()
    with pytest.raises(PermissionError, match=r"can be written to.*run\.safetensors"):
        eb.fit(model, data["x"], data["y"], epochs=1, checkpoint=read_only_folder / "run.safetensors")
    assert all(np.array_equal(p, before[name]) for name, p in model.parameters().items())


def test_a_disk_that_is_full_leaves_the_checkpoint_of_the_epoch_before(
    tmp_path: Path, data: dict[str, np.ndarray], full_disk: Callable[[bool], None]
) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.raises(OSError, match=r"File too large"):
        train(data, checkpoint=path, progress=lambda done, *_: full_disk(done == 2))
    full_disk(False)
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "half a file was left"
    assert same_bits(train(data, checkpoint=path), train(data))


def test_divergence_names_epoch_batch_and_norms_and_leaves_the_checkpoint_of_the_epoch_before(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    x, y = batch(40, 3), labels(40, 2)

    def run(epochs: int, rate: float) -> Any:
        model, _ = pair([3, 5, 2])
        optimizer = T.SGD(lr=rate, schedule=T.Piecewise([(0.49, 1e-30), (0.5, 1.0)]))
        eb.fit(model, x, y, epochs=epochs, batch_size=10, optimizer=optimizer, checkpoint=path)
        return model

    with pytest.raises(FloatingPointError, match=r"epoch 2: the loss of batch [1-3] is not finite; norm of the weights "
                                                 r"\S+, of the last gradient \S+$"):  # fmt: skip
        run(2, 1e30)
    from epsball.files import load_tensors

    tensors, header = load_tensors(path, "epsball-checkpoint", 1)
    assert [record["epoch"] for record in header["epochs"]] == [1]
    assert all(np.isfinite(t).all() for t in tensors.values())


@pytest.mark.parametrize("method", [T.Standard(), T.PGDTraining(eps=0.1, steps=2), T.TRADES(eps=0.1, steps=2)], ids=str)
def test_batches_of_a_single_class_train(method: Any) -> None:
    model, _ = pair([7, 9, 3], "relu")
    x = batch(20, 7)
    eb.fit(model, x, np.full(20, 2), method=method, epochs=20, batch_size=5, optimizer=T.SGD(lr=0.5))
    assert (model.predict(x) == 2).all()


@pytest.mark.parametrize("row", [0, 1099])  # looked at in blocks of rows
def test_data_outside_the_box_is_an_error_before_the_first_update(row: int) -> None:
    model = eb.models.linear(4, 3)
    before = model.parameters()
    x = np.full((1100, 2, 2), 0.5, np.float32)
    x[row, 1, 1] = 1.001
    with pytest.raises(ValueError, match=rf"x: wanted values within .*\(0.0, 1.0\).* in row {row};"):
        eb.fit(model, x, np.zeros(1100, int), epochs=1, method=eb.training.PGDTraining(eps=0.1))
    assert all(np.array_equal(p, before[name]) for name, p in model.parameters().items())


KILLED = """
import sys, os
sys.path.insert(0, sys.argv[1])
import numpy as np, epsball as eb
from cases import batch
from oracle import random_net
T = eb.training
teacher = random_net([9, 3], seed=5, scale=4.0)
x = batch(300, 9, seed=1)
model = eb.models.mlp([9, 17, 3], activation="relu", dropout=0.2, seed=1)
kill_at = int(sys.argv[3])

def progress(done, total, record):
    print(done, flush=True)
    if done == kill_at:
        sys.stdin.readline()  # wait here to be killed

eb.fit(model, x, teacher.predict(x), method=T.PGDTraining(eps=0.1, steps=2), epochs=4, batch_size=32,
       optimizer=T.SGD(lr=0.1, momentum=0.9, weight_decay=1e-3, schedule=T.Cosine()),
       checkpoint=sys.argv[2] or None, progress=progress)
print(b"".join(p.tobytes() for p in model.parameters().values()).hex(), flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="no SIGKILL here")
def test_killed_run_loses_at_most_an_epoch_and_resumes_bit_identically(tmp_path: Path) -> None:
    here, path = str(Path(__file__).parent), tmp_path / "run.safetensors"

    def start(checkpoint: str, kill_at: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", KILLED, here, checkpoint, str(kill_at)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with start("", 0) as whole:
        wanted = whole.communicate(timeout=60)[0].split()
    assert wanted[:4] == ["1", "2", "3", "4"]
    with start(str(path), 3) as victim:
        assert victim.stdout is not None
        for done in ("1", "2", "3"):
            assert victim.stdout.readline().strip() == done
        victim.send_signal(signal.SIGKILL)
        victim.wait(timeout=10)
    with start(str(path), 0) as resumed:
        again = resumed.communicate(timeout=60)[0].split()
    assert again[0] in ("3", "4")
    assert again[-1] == wanted[-1]


# ---- one thing at a time


def test_calls_during_fit_raise(data: dict[str, np.ndarray]) -> None:
    model = student()
    inside, go_on = threading.Event(), threading.Event()

    def progress(*_: Any) -> None:
        inside.set()
        assert go_on.wait(20)

    worker = threading.Thread(target=lambda: eb.fit(model, data["x"], data["y"], epochs=2, progress=progress))
    worker.start()
    try:
        assert inside.wait(20)
        for call in (
            lambda: model(data["x"]),
            lambda: eb.fgsm(model, data["x"], data["y"], eps=0.1),
            lambda: eb.fit(model, data["x"], data["y"], epochs=1),
            lambda: model.load_parameters(student().parameters()),
        ):
            with pytest.raises(RuntimeError, match="fit"):
                call()
    finally:
        go_on.set()
        worker.join(20)
    assert not worker.is_alive()
    model(data["x"])  # afterwards it works again


def test_model_works_again_after_a_failed_fit(data: dict[str, np.ndarray]) -> None:
    model = student()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        eb.fit(model, data["x"], data["y"], epochs=2, progress=fail)
    model(data["x"])
    eb.fit(model, data["x"], data["y"], epochs=1)


def test_soft_labels_train(table: str) -> None:
    x, y = batch(30, 7), labels(30, 3)
    models = [engine(random_net([7, 9, 3], "tanh")) for _ in range(2)]
    for model, target in zip(models, (y, np.eye(3, dtype=np.float32)[y]), strict=True):
        eb.fit(model, x, target, epochs=2, batch_size=30, optimizer=T.SGD(lr=0.1))
    for p, q in zip(models[0].parameters().values(), models[1].parameters().values(), strict=True):
        np.testing.assert_allclose(p, q, rtol=0, atol=1e-5)


def test_weights_that_diverge_in_the_last_batch_are_an_error_that_names_the_epoch() -> None:
    model, _ = pair([3, 5, 2])
    with pytest.raises(FloatingPointError, match=r"epoch 1: training diverged in the last batch, 0; norm of the "
                                                 r"weights \S+; model: .* not finite"):  # fmt: skip
        eb.fit(model, batch(4, 3), labels(4, 2), optimizer=T.SGD(lr=1e30), epochs=3)


# ---- data larger than memory


def anonymous_memory() -> int:
    """Bytes of this process that no file holds."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("the kernel does not tell which memory no file holds")
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows_of_a_mapped_file_are_read_as_they_are_needed(tmp_path: Path, dtype: type) -> None:
    rows, size = 150_000, 400
    x = np.memmap(tmp_path / "x", dtype, "w+", shape=(rows, size))
    x[::1000, ::7] = 0.5
    y = np.arange(rows, dtype=np.int64) % 3
    model = eb.models.linear(size, 3)
    eb.fit(model, x[:2000], y[:2000], method=eb.training.PGDTraining(eps=0.1, steps=1), epochs=1)
    before, seen = anonymous_memory(), []
    eb.fit(model, x, y, method=eb.training.PGDTraining(eps=0.1, steps=1), epochs=1, batch_size=1000,
           progress=lambda *_: seen.append(anonymous_memory()))  # fmt: skip
    assert seen[0] - before < rows * size * x.itemsize / 4
