"""PGD with momentum, looking ahead, and with Adam: the loops of the papers step by step."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import batch, constant_model, pair

EPS, SIZE, STEPS = 0.1, 0.02, 6
# As in test_pgd.py: an iterate of another loop would differ by 1e-2 or more.
CLOSE = 1e-4
VARIANTS = [(a, n) for a in (eb.attacks.MomentumPGD, eb.attacks.AdamPGD) for n in a.norms]


def gradient(net: oracle.Net, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """With the logits' gradient scaled to a largest magnitude of 1, which no direction depends on but Adam's."""
    d = oracle.loss_gradient("cross_entropy", net(x), y)
    scale = np.abs(d).max(axis=1, keepdims=True)
    return net.gradient(x, y, "cross_entropy").inputs / scale


def inside(x: np.ndarray, x0: np.ndarray) -> np.ndarray:
    return np.clip(np.clip(x, x0 - EPS, x0 + EPS), 0, 1)


def momentum(net: oracle.Net, x0: np.ndarray, y: np.ndarray, decay: float, nesterov: bool) -> np.ndarray:
    x, at, m, trace = x0.copy(), x0.copy(), np.zeros_like(x0), []
    for step in range(STEPS + 1):
        trace.append(oracle.loss("cross_entropy", net(at), y))
        g = gradient(net, at, y)
        m = decay * m + g / np.abs(g).sum(axis=1, keepdims=True)
        x = inside(x + SIZE * np.sign(m), x0)
        at = inside(x + decay * SIZE * m, x0) if nesterov and step + 1 < STEPS else x
    return np.array(trace).T


def adam(net: oracle.Net, x0: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, m, v, trace = x0.copy(), np.zeros_like(x0), np.zeros_like(x0), []
    for step in range(1, STEPS + 2):
        trace.append(oracle.loss("cross_entropy", net(x), y))
        g = gradient(net, x, y)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x = inside(x + SIZE * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8), x0)
    return np.array(trace).T


def assert_same_losses(trace: np.ndarray, wanted: np.ndarray) -> None:
    near = (np.abs(trace - wanted) <= 10 * CLOSE * (1 + np.abs(wanted))).all(axis=1)
    assert near.mean() >= 0.95  # a sign that float32 decides otherwise takes a row elsewhere


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_momentum_is_the_paper_s_loop(table: str, decay: float, nesterov: bool) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x = batch(60, 9)
    y = net.predict(x)
    attack = eb.attacks.MomentumPGD(eps=EPS, steps=STEPS, step_size=SIZE, decay=decay, nesterov=nesterov)
    run = attack.run(model, x, y, trace=True)
    assert_same_losses(run.trace, momentum(net, x.astype(np.float64), y, decay, nesterov))


def test_looking_ahead_makes_a_difference(table: str) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x = batch(60, 9)
    options = {"eps": EPS, "steps": STEPS, "step_size": SIZE}
    runs = [
        eb.attacks.MomentumPGD(**options, nesterov=n).run(model, x, net.predict(x), trace=True) for n in (False, True)
    ]
    assert (runs[0].trace[:, 1] != runs[1].trace[:, 1]).any()


def test_without_memory_it_is_pgd(table: str) -> None:
    model, net = pair([9, 16, 5], "relu", scale=2.0)
    x = batch(60, 9)
    y = net.predict(x)
    for norm, eps in (("linf", 0.1), ("l1", 1.0)):
        ours = eb.attacks.MomentumPGD(eps=eps, norm=norm, steps=5, decay=0.0).run(model, x, y)
        plain = eb.attacks.PGD(eps=eps, norm=norm, steps=5, random_start=False).run(model, x, y)
        np.testing.assert_allclose(ours.x_adv, plain.x_adv, atol=1e-6)


def test_adam_is_the_published_loop(table: str) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x = batch(60, 9)
    y = net.predict(x)
    run = eb.attacks.AdamPGD(eps=EPS, steps=STEPS, step_size=SIZE, random_start=False).run(model, x, y, trace=True)
    assert_same_losses(run.trace, adam(net, x.astype(np.float64), y))


@pytest.mark.parametrize(("attack", "norm"), VARIANTS)
def test_zero_gradients_are_reported_and_others_are_not(table: str, attack: type, norm: str) -> None:
    x, y = batch(5, 9), np.zeros(5, np.int64)
    assert attack(eps=0.1, norm=norm, steps=3).run(constant_model(9, 4), x, y).zero_gradient.all()
    model, _ = pair([9, 4])
    assert not attack(eps=0.1, norm=norm, steps=3).run(model, x, y).zero_gradient.any()


@pytest.mark.parametrize(("attack", "norm"), VARIANTS)
def test_they_raise_the_loss_about_as_far_as_pgd(attack: type, norm: str) -> None:
    model, net = pair([33, 64, 10], "relu", scale=2.0)
    x = batch(200, 33)
    y = net.predict(x)
    eps = {"linf": 0.05, "l2": 0.3, "l1": 0.8}[norm]
    ours = attack(eps=eps, norm=norm, steps=40).run(model, x, y).success.mean()
    plain = eb.attacks.PGD(eps=eps, norm=norm, steps=40).run(model, x, y).success.mean()
    assert 0.1 < plain < 0.95
    assert ours >= plain - 0.08


@pytest.mark.parametrize("attack", [eb.attacks.MomentumPGD, eb.attacks.AdamPGD, eb.attacks.SLIDE])
def test_restarts_that_would_all_be_the_same_are_refused(attack: type) -> None:
    with pytest.raises(ValueError, match=r"^restarts:"):
        attack(eps=0.1, restarts=2, random_start=False)


@pytest.mark.parametrize(
    ("attack", "name", "value"),
    [
        (eb.attacks.MomentumPGD, "decay", -0.1),
        (eb.attacks.MomentumPGD, "nesterov", 1),
        (eb.attacks.AdamPGD, "beta1", 1.0),
        (eb.attacks.AdamPGD, "beta2", -0.1),
        (eb.attacks.SLIDE, "fraction", 0.0),
        (eb.attacks.SLIDE, "norm", "l2"),
    ],
)
def test_bad_options_are_named(attack: type, name: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{name}:"):
        attack(eps=0.1, **{name: value})
