"""The difference of logits ratio: its gradients, what does not change it, and how many classes it needs."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
import oracle
from cases import assert_within, batch, check_central_differences, check_loss, engine, labels, pair
from oracle import Net


@pytest.mark.parametrize("sizes", [[9, 3], [9, 4], [9, 10], [17, 33, 10]], ids=str)
@pytest.mark.parametrize("rows", [5, 33])
def test_loss_and_gradients_agree(table: str, sizes: list[int], rows: int) -> None:
    model, net = pair(sizes, "tanh")
    check_loss(model, net, batch(rows, sizes[0]), labels(rows, sizes[-1]), "dlr")


@pytest.mark.parametrize("classes", [3, 5])
def test_gradient_is_the_slope_of_the_loss(table: str, classes: int) -> None:
    model, net = pair([5, 7, classes], "tanh", scale=2.0)
    check_central_differences(model, net, batch(12, 5), labels(12, classes), "dlr")


def test_of_equal_logits_the_first_class_counts(table: str) -> None:
    model = engine(Net([np.eye(4)], [np.zeros(4)]))  # the logits are the input
    z = np.array([[3.0, 3.0, 1.0, 1.0], [2.0, 1.0, 1.0, 1.0]], np.float32)
    gradient = model.input_gradient(z, np.array([0, 3]), loss="dlr")
    # (z1 - z0) / (z0 - z2) and (z0 - z3) / (z0 - z2)
    np.testing.assert_array_equal(gradient, [[-0.5, 0.5, 0, 0], [0, 0, 1, -1]])


def test_neither_shift_nor_scale_of_the_logits_changes_it(table: str) -> None:
    rng = np.random.default_rng(0)
    z = rng.integers(-400, 400, (50, 7)).astype(np.float32) / 16  # shifts and scales of these are exact
    z = z[np.sort(z, axis=1)[:, -1] > np.sort(z, axis=1)[:, -3]]
    model, y = engine(Net([np.eye(7)], [np.zeros(7)])), labels(len(z), 7)
    plain = np.asarray(model.loss(z, y, loss="dlr"))
    np.testing.assert_array_equal(model.loss(z * 8, y, loss="dlr"), plain)
    np.testing.assert_array_equal(model.loss(z + 128, y, loss="dlr"), plain)
    gradient = np.asarray(model.input_gradient(z, y, loss="dlr"), np.float64)
    assert (np.abs(gradient.sum(axis=1)) <= 1e-6 * np.abs(gradient).sum(axis=1)).all()  # of a shift
    along = np.abs(gradient * z).sum(axis=1)
    assert (np.abs((gradient * z).sum(axis=1)) <= 1e-6 * along).all()  # of a scale


def test_it_is_positive_exactly_where_the_prediction_is_wrong(table: str) -> None:
    model, _ = pair([9, 10])
    x, y = batch(200, 9), labels(200, 10)
    y[::2] = model.predict(x)[::2]
    wrong = np.asarray(model.predict(x)) != y
    loss = np.asarray(model.loss(x, y, loss="dlr"))
    np.testing.assert_array_equal(loss > 0, wrong)
    assert (loss >= -1).all()


def test_equal_logits_give_finite_numbers(table: str) -> None:
    model = engine(Net([np.eye(4)], [np.zeros(4)]))
    z = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]], np.float32)
    for y in range(4):
        assert np.isfinite(model.loss(z, np.full(2, y), loss="dlr")).all()
        run = eb.attacks.PGD(eps=0.1, loss="dlr", bounds=None).run(model, z, np.full(2, y))
        assert np.isfinite(run.x_adv).all()


def targeted_dlr(z: np.ndarray, y: np.ndarray, t: np.ndarray) -> np.ndarray:
    rows, top = np.arange(len(z)), np.sort(z, axis=1)
    return (z[rows, t] - z[rows, y]) / (top[:, -1] - (top[:, -3] + top[:, -4]) / 2)


def test_the_targeted_ratio_agrees(table: str) -> None:
    """APGD's first iterate is a point whose loss the oracle knows; its one target is the likeliest other class at x."""
    model, net = pair([17, 33, 6], "tanh", scale=2.0)
    x = batch(60, 17)
    y = net.predict(x)
    run = eb.attacks.APGD(eps=0.05, steps=0, targets=1, loss="dlr").run(model, x, y)
    z = net(x)
    z[np.arange(60), y] = -np.inf
    after = net.forward(np.asarray(run.x_adv, np.float64))
    wanted = targeted_dlr(after.logits, y, z.argmax(axis=1))
    worst = after.logit_errors.max(axis=1)
    top = np.sort(after.logits, axis=1)
    spread = top[:, -1] - (top[:, -3] + top[:, -4]) / 2 - 2 * worst
    rounding = 8 * oracle.U * (1 + np.abs(after.logits).max(axis=1))
    assert_within(run.loss, wanted, (2 * worst + rounding) * (1 + np.abs(wanted)) / spread, "targeted dlr")


@pytest.mark.parametrize(("classes", "targets"), [(1, 0), (2, 0), (2, 1), (3, 1)])
def test_too_few_classes_are_an_error(classes: int, targets: int) -> None:
    model, _ = pair([5, classes])
    x, y = batch(3, 5), np.zeros(3, np.int64)
    with pytest.raises(ValueError, match=r"^loss: 'dlr' compares .* classes or more.* got a model with"):
        eb.attacks.APGD(eps=0.1, loss="dlr", targets=targets)(model, x, y)
    if targets == 0:
        with pytest.raises(ValueError, match=r"^loss: 'dlr'"):
            model.loss(x, y, loss="dlr")


def test_it_takes_no_probabilities() -> None:
    model, _ = pair([5, 4])
    with pytest.raises(TypeError, match=r"^y: the dlr loss takes class indices"):
        model.loss(batch(3, 5), np.full((3, 4), 0.25, np.float32), loss="dlr")
