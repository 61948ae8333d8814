"""The hinge loss of SVMs, one class against the rest: its gradients, its kink, and the linear SVM it trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import batch, check_central_differences, check_loss, engine, labels, pair, sized
from oracle import Net

SHAPES = ([9, 1], [9, 2], [9, 10], [17, 5, 1], [17, 33, 10])
LOSSES = ("hinge", "crammer_singer")


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_loss_and_gradients_agree(table: str, sizes: list[int], rows: int) -> None:
    model, net = pair(sizes, "tanh")
    check_loss(model, net, batch(rows, sizes[0]), labels(rows, sizes[-1]), "hinge")


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("classes", [1, 3])
def test_gradient_is_the_slope_of_the_loss(table: str, activation: str, classes: int) -> None:
    model, net = pair([5, 7, classes], activation)
    check_central_differences(model, net, batch(12, 5), labels(12, classes), "hinge")


def one_logit(z: list[float]) -> tuple[eb.Sequential, np.ndarray]:
    """A model of one weight of 1, and rows with these logits."""
    return engine(Net([np.ones((1, 1))], [np.zeros(1)])), np.array(z, np.float32)[:, None]


@pytest.mark.parametrize("loss", LOSSES)
def test_at_the_kink_the_derivative_is_zero(table: str, loss: str) -> None:
    below = np.nextafter(np.float32(1), np.float32(0))
    model, x = one_logit([-3.0, 0.0, float(below), 1.0, 1.5])
    np.testing.assert_array_equal(model.input_gradient(x, np.ones(5, np.int64), loss=loss)[:, 0], [-1, -1, -1, 0, 0])
    np.testing.assert_array_equal(model.input_gradient(-x, np.zeros(5, np.int64), loss=loss)[:, 0], [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(
        model.loss(x, np.ones(5, np.int64), loss=loss), np.array([4, 1, 1 - below, 0, 0], np.float32)
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_an_attack_on_a_flat_hinge_stays_and_says_so(table: str, loss: str, classes: int) -> None:
    model, net = pair([6, classes], scale=4.0)
    x = batch(60, 6, low=-1.0)
    y = net.predict(x)
    flat = oracle.loss_gradient(loss, net(x), y).any(axis=1) == 0
    flat &= ~oracle.rows_on_a_loss_kink(loss, net(x), net.forward(x).logit_errors, y)
    assert 5 < flat.sum() < 55
    attack = eb.attacks.PGD(eps=0.1, steps=5, random_start=False, loss=loss, bounds=(-1.0, 1.0))
    run = attack.run(model, x, y)
    assert run.zero_gradient[flat].all()
    np.testing.assert_array_equal(run.x_adv[flat], x[flat])
    steep = oracle.loss_gradient(loss, net(x), y).any(axis=1)
    assert not run.zero_gradient[steep].any()
    assert not replace(attack, loss="margin").run(model, x, y).zero_gradient.any()


@pytest.mark.parametrize("norm", oracle.NORMS)
def test_evasion_of_a_linear_svm_reaches_the_closed_form(table: str, norm: str) -> None:
    """Two-class SVM, inside its margin: ascending the hinge ends where the exact attack does."""
    model, net = pair([7, 1])
    x = batch(sized(40, on_emulator=15), 7)
    y = net.predict(x)
    inside = oracle.loss("hinge", net(x), y) > 0
    x, y = x[inside], y[inside]
    assert len(x) > 5
    eps = {"linf": 0.05, "l2": 0.2, "l1": 0.6}[norm]
    bounds = None if norm == "l2" else (0.0, 1.0)  # PGD's L2 projection rescales, then clips
    exact = oracle.worst_margin(net, x, y, eps, norm, bounds)
    np.testing.assert_allclose(oracle.loss("margin", net(eb.linear_exact(model, x, y, eps, norm, bounds)), y), exact,
                               rtol=0, atol=2e-5)  # fmt: skip
    attack = eb.attacks.PGD(
        eps=eps, norm=norm, steps=200, step_size=eps / 4, loss="hinge", random_start=False, bounds=bounds
    )
    reached = oracle.loss("hinge", net(attack(model, x, y)), y)
    np.testing.assert_allclose(reached, 1 + exact, rtol=0, atol=2e-5)
