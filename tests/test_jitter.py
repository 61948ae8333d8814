"""The jitter loss and the attack on it: formula, slope, what no scale changes, and noise."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from cases import batch, engine, labels, pair, sized
from oracle import Net, sigmoid

STRETCH = 10.0


def identity(classes: int) -> eb.Sequential:
    """A model whose logits are its input."""
    return engine(Net([np.eye(classes)], [np.zeros(classes)]))


def probabilities(z: np.ndarray) -> np.ndarray:
    e = np.exp(STRETCH * z / np.abs(z).max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def jitter(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    if z.shape[1] == 1:
        return (sigmoid(z[:, 0]) - y) ** 2
    return ((probabilities(z) - np.eye(z.shape[1])[y]) ** 2).mean(axis=1)


def slope(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Central differences in float64; the largest logit must lead by more than the step."""
    h = 1e-6
    steps = h * np.eye(z.shape[1])
    return np.stack([(jitter(z + d, y) - jitter(z - d, y)) / (2 * h) for d in steps], axis=1)


@pytest.mark.parametrize("classes", [1, 2, 3, 10, 17])
def test_loss_and_gradient_agree(table: str, classes: int) -> None:
    z = np.random.default_rng(classes).uniform(-3, 3, (65, classes)).astype(np.float32)
    z[:, 0] *= 1.2
    magnitudes = np.sort(np.abs(z), axis=1)
    z = z[(magnitudes[:, -1] > 0.1) & (np.diff(magnitudes, prepend=0, axis=1)[:, -1] > 1e-3)]  # no ties of the largest
    assert len(z) > 50
    y = labels(len(z), classes)
    model = identity(classes)
    np.testing.assert_allclose(model.loss(z, y, loss="jitter"), jitter(z.astype(np.float64), y), rtol=1e-5, atol=1e-7)
    wanted = slope(z.astype(np.float64), y)
    np.testing.assert_allclose(model.input_gradient(z, y, loss="jitter"), wanted, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 5])
def test_no_scale_of_the_logits_changes_it(table: str, classes: int) -> None:
    z = batch(40, classes, low=-3, high=3)
    y = labels(40, classes)
    model = identity(classes)
    for scale in (0.125, 1024.0):
        np.testing.assert_array_equal(model.loss(scale * z, y, loss="jitter"), model.loss(z, y, loss="jitter"))
    gradient = np.asarray(model.input_gradient(z, y, loss="jitter"), np.float64)
    along = np.abs((gradient * z).sum(axis=1))
    assert (along <= 1e-5 * np.abs(gradient * z).sum(axis=1) + 1e-7).all()


def test_logits_of_zero_give_finite_numbers(table: str) -> None:
    z = np.zeros((3, 4), np.float32)
    for call in (identity(4).loss, identity(4).input_gradient):
        assert np.isfinite(call(z, np.array([0, 1, 3]), loss="jitter")).all()


def test_a_sure_row_has_a_direction(table: str) -> None:
    """Behind a margin of a thousand cross-entropy is 0; the probabilities of rescaled logits are not."""
    z = np.array([[1000.0, 0.0, -400.0]], np.float32)
    attack = eb.attacks.Jitter(1.0, steps=1, noise=0.0, bounds=None, random_start=False)
    run = attack.run(identity(3), z, np.zeros(1, np.int64))
    assert not run.zero_gradient.any()
    np.testing.assert_array_equal(run.x_adv - z, np.sign(slope(z.astype(np.float64), np.zeros(1, np.int64))))


def test_it_is_about_as_strong_as_pgd(table: str) -> None:
    model, net = pair([33, 64, 10], "relu", scale=2.0)
    x = batch(sized(200, on_emulator=60), 33)
    y = net.predict(x)
    ours = eb.attacks.Jitter(0.05, steps=40).run(model, x, y).success.mean()
    plain = eb.attacks.PGD(0.05, steps=40).run(model, x, y).success.mean()
    assert 0.1 < plain < 0.95
    assert ours >= plain - 0.05


def test_noise_changes_directions_and_not_the_loss(table: str) -> None:
    model, net = pair([9, 16, 5], "tanh", scale=2.0)
    x = batch(60, 9)
    y = net.predict(x)
    runs = [eb.attacks.Jitter(0.1, steps=3, noise=n, random_start=False, seed=4).run(model, x, y, trace=True)
            for n in (0.0, 1.0)]  # fmt: skip
    np.testing.assert_array_equal(runs[0].trace[:, 0], runs[1].trace[:, 0])
    assert (runs[0].trace[:, 1] != runs[1].trace[:, 1]).mean() > 0.5
    for run in runs:
        np.testing.assert_allclose(run.loss, model.loss(run.x_adv, y, loss="jitter"), rtol=1e-5)


def test_without_noise_it_is_pgd_on_the_loss(table: str) -> None:
    model, net = pair([9, 16, 5], "relu", scale=2.0)
    x = batch(60, 9)
    y = net.predict(x)
    ours = eb.attacks.Jitter(0.1, steps=5, noise=0.0, random_start=False).run(model, x, y)
    plain = eb.attacks.PGD(0.1, steps=5, random_start=False, loss="jitter").run(model, x, y)
    np.testing.assert_allclose(ours.x_adv, plain.x_adv, atol=1e-6)


def test_it_takes_no_probabilities() -> None:
    model, _ = pair([5, 4])
    with pytest.raises(TypeError, match=r"^y: the jitter loss takes class indices"):
        model.loss(batch(3, 5), np.full((3, 4), 0.25, np.float32), loss="jitter")


@pytest.mark.parametrize(("name", "value"), [("scale", 0.0), ("noise", -1.0), ("noise", "much")])
def test_bad_options_are_named(name: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{name}:"):
        eb.attacks.Jitter(0.1, **{name: value})
