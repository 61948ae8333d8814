"""FGSM and its L2 / L1 forms: one steepest step, compared with the oracle and with closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import LOSSES, SIZES, batch, constant_model, labels, pair, smooth_rows
from oracle import NORMS, U

SHAPES = ([9, 1], [9, 2], [17, 10], [17, 33, 10])


def check_against_oracle(model, net, x, y, eps: float, norm: str, **options) -> None:
    """The engine's point is the oracle's, on rows whose signs and orders float32 decides as float64 does."""
    loss = options.get("loss", "cross_entropy")
    attack = eb.attacks.FGSM(eps=eps, norm=norm, **options)
    theirs = dict(options)
    theirs["loss_name"] = theirs.pop("loss", "cross_entropy")
    wanted = oracle.fgsm(net, x, y, eps, norm, **theirs)
    back = net.gradient(x, y, loss)
    g, dg = np.abs(back.inputs), back.input_errors
    ok = smooth_rows(net, x, y, loss)
    if norm == "linf":
        ok &= ((g > dg) | (g == 0)).all(axis=1)
        atol = 8 * U  # two roundings of a value below 2, each kept inside the ball
    elif norm == "l2":
        # An error dg of the gradient turns the unit vector by at most ||dg|| / ||g||, twice.
        length = np.linalg.norm(g, axis=1)
        turn = 2 * np.linalg.norm(dg, axis=1) / np.where(length > 0, length, 1.0)
        ok &= turn < 1e-3
        atol = eps * turn[ok].max(initial=0.0) + 16 * U
    else:
        ok &= (np.diff(np.sort(g, axis=1)) > 2 * dg.max(axis=1, keepdims=True)).all(axis=1)
        atol = 16 * U * x.shape[1]  # each coordinate's room is rounded, the last takes what is left
    assert ok.mean() >= 0.5, "most rows were skipped"
    np.testing.assert_allclose(np.asarray(attack(model, x, y))[ok], wanted[ok], rtol=0, atol=atol)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), None, (0.2, 0.8)], ids=str)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_fgsm_is_the_oracle_s_step(table: str, sizes: list[int], norm: str, bounds: oracle.Bounds) -> None:
    model, net = pair(sizes, "tanh")
    low, high = (0.2, 0.8) if bounds == (0.2, 0.8) else (0.0, 1.0)
    x = batch(21, sizes[0], low=low, high=high)
    if bounds is not None:
        x = np.clip(
            x,
            np.nextafter(np.float32(low), np.float32(1)),
            np.nextafter(np.float32(high), np.float32(0)),
        )
    y = labels(21, sizes[-1])
    check_against_oracle(model, net, x, y, 0.1, norm, bounds=bounds)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_every_loss_and_direction_agrees(table: str, norm: str, targeted: bool, loss: str) -> None:
    model, net = pair([9, 16, 5], "softplus")
    check_against_oracle(model, net, batch(21, 9), labels(21, 5), 0.1, norm, targeted=targeted, loss=loss)


@pytest.mark.parametrize("features", SIZES)
def test_odd_sizes_agree(table: str, features: int) -> None:
    model, net = pair([features, 3])
    for rows in (1, 15, 33):
        check_against_oracle(model, net, batch(rows, features), labels(rows, 3), 0.1, "linf")


@pytest.mark.parametrize("norm", NORMS)
def test_masked_step_agrees(table: str, norm: str) -> None:
    model, net = pair([9, 16, 5], "tanh")
    mask = np.array([1, 0, 1, 1, 0, 1, 1, 1, 0])
    x, y = batch(21, 9), labels(21, 5)
    free = mask.astype(bool)
    wanted = oracle.fgsm(net, x, y, 0.1, norm, mask=mask)
    g = np.abs(net.input_gradient(x, y))[:, free]
    ok = (np.diff(np.sort(g, axis=1)) > 1e-4).all(axis=1) & (g > 1e-4).all(axis=1)
    assert ok.mean() >= 0.5
    x_adv = np.asarray(eb.fgsm(model, x, y, eps=0.1, norm=norm, mask=mask))
    # The L2 direction carries the gradient's float32 error, about 1e-5 of it at most here.
    np.testing.assert_allclose(x_adv[ok], wanted[ok], rtol=0, atol=1e-5)


def test_function_and_class_are_one_attack(table: str) -> None:
    model, _ = pair([9, 16, 5], "relu")
    x, y = batch(21, 9), labels(21, 5)
    for norm in NORMS:
        attack = eb.attacks.FGSM(eps=0.1, norm=norm)
        np.testing.assert_array_equal(eb.fgsm(model, x, y, eps=0.1, norm=norm), attack(model, x, y))
        np.testing.assert_array_equal(attack.run(model, x, y).x_adv, attack(model, x, y))


def test_missing_labels_mean_the_model_s_own_prediction(table: str) -> None:
    model, _ = pair([9, 5])
    x = batch(21, 9)
    attack = eb.attacks.FGSM(eps=0.1)
    alone, given = attack.run(model, x), attack.run(model, x, model.predict(x))
    np.testing.assert_array_equal(alone.x_adv, given.x_adv)
    np.testing.assert_array_equal(alone.success, given.success)


def test_result_describes_the_returned_point(table: str) -> None:
    model, _ = pair([9, 16, 5], "relu", scale=3.0)
    x, y = batch(60, 9), labels(60, 5)
    for norm in NORMS:
        for targeted in (False, True):
            result = eb.attacks.FGSM(eps=0.2, norm=norm, targeted=targeted).run(model, x, y)
            predicted = np.asarray(model.predict(result.x_adv))
            np.testing.assert_array_equal(result.success, (predicted == y) if targeted else (predicted != y))
            assert result.success.dtype == bool
            np.testing.assert_allclose(result.distance, oracle.distance(result.x_adv, x, norm), rtol=1e-12)
            assert result.distance.dtype == np.float64
            np.testing.assert_array_equal(result.loss, model.loss(result.x_adv, y))
            assert result.queries.dtype == np.int64
            assert (result.queries >= 1).all()
            assert result.trace is None


@pytest.mark.parametrize("norm", NORMS)
def test_zero_gradient_is_reported_and_moves_nothing(table: str, norm: str) -> None:
    model, x, y = constant_model(7, 3), batch(5, 7), np.zeros(5, int)
    result = eb.attacks.FGSM(eps=0.3, norm=norm).run(model, x, y)
    assert result.zero_gradient.all()
    np.testing.assert_array_equal(result.x_adv, x)
    assert not result.success.any()
    lively, _ = pair([7, 3])
    assert not eb.attacks.FGSM(eps=0.3, norm=norm).run(lively, x, y).zero_gradient.any()


def test_only_the_dead_rows_are_reported(table: str) -> None:
    """A ReLU layer that is off for some rows and on for others."""
    model = eb.Sequential([eb.Linear(2, 1), eb.ReLU(), eb.Linear(1, 2)], input_shape=(2,))
    model.load_parameters(
        {
            "0.weight": np.array([[1.0, 0.0]]),
            "0.bias": np.array([-0.5]),
            "2.weight": np.array([[1.0], [-1.0]]),
            "2.bias": np.zeros(2),
        }
    )
    x = np.array([[0.9, 0.5], [0.1, 0.5], [0.8, 0.2], [0.2, 0.2]], np.float32)
    result = eb.attacks.FGSM(eps=0.1).run(model, x, np.zeros(4, int))
    np.testing.assert_array_equal(result.zero_gradient, [False, True, False, True])
    np.testing.assert_array_equal(result.x_adv[1::2], x[1::2])


def test_sign_of_an_exactly_zero_element_is_zero(table: str) -> None:
    model = eb.models.linear(3, 2)
    model.load_parameters({"0.weight": np.array([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]]), "0.bias": np.zeros(2)})
    x = np.full((1, 3), 0.5, np.float32)
    x_adv = eb.fgsm(model, x, np.array([0]), eps=0.25)
    np.testing.assert_array_equal(x_adv, [[0.25, 0.5, 0.75]])


def test_configuration_survives_a_dictionary() -> None:
    for attack in (
        eb.attacks.FGSM(eps=0.1, norm="l2"),
        eb.attacks.PGD(eps=0.3, steps=7, restarts=2, seed=5),
    ):
        again = eb.attacks.from_dict(attack.to_dict())
        assert type(again) is type(attack)
        assert again == attack
    with pytest.raises(AttributeError):
        eb.attacks.FGSM(eps=0.1).eps = 0.2  # type: ignore[misc]
