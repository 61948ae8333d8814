"""SPSA and NES: what they estimate, what they count, and how near they come to PGD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, pair


@pytest.mark.parametrize(("attack", "spread"), [(eb.attacks.SPSA, "delta"), (eb.attacks.NES, "sigma")])
def test_a_step_follows_the_gradient_s_largest_derivatives(table: str, attack: Any, spread: str) -> None:
    """On a linear model the estimate's error falls with the number of samples: its signs are then the gradient's."""
    model, net = pair([9, 2])
    x = batch(40, 9, low=0.3, high=0.7)
    y = net.predict(x)
    options = {"eps": 0.1, "steps": 1, "step_size": 0.1, spread: 0.1, "loss": "margin", "early_stop": False}
    right = []
    for samples in (1, 400):
        moved = np.sign(attack(**options, samples=samples)(model, x, y) - x)
        gradient = np.asarray(model.input_gradient(x, y, loss="margin"))
        large = np.abs(gradient) > 0.3 * np.abs(gradient).max()
        right.append((moved == np.sign(gradient))[large].mean())
    assert right[0] < 0.9
    assert right[1] > 0.97


@pytest.mark.parametrize(
    ("attack", "norm"), [(eb.attacks.SPSA, "linf"), (eb.attacks.NES, "linf"), (eb.attacks.NES, "l2")]
)
@pytest.mark.parametrize("targeted", [False, True])
def test_they_come_near_pgd(attack: Any, norm: str, targeted: bool) -> None:
    model, net = pair([33, 31, 4], "tanh", scale=3.0)
    x = batch(60, 33)
    y = (net.predict(x) + targeted) % 4
    eps = {"linf": 0.15, "l2": 0.8}[norm] * (1 + targeted)
    pgd = eb.attacks.PGD(eps=eps, norm=norm, steps=40, targeted=targeted).run(model, x, y).success.mean()
    options = {"eps": eps, "norm": norm, "steps": 40, "step_size": eps / 10, "samples": 60, "targeted": targeted}
    ours = attack(**options).run(model, x, y).success.mean()
    assert pgd > 0.3
    assert ours >= pgd - 0.15


def test_every_sample_is_counted(table: str) -> None:
    model, net = pair([9, 4])
    x = batch(20, 9)
    run = eb.attacks.SPSA(eps=1e-4, steps=3, samples=5, early_stop=False).run(model, x, net.predict(x))
    assert (run.queries == 1 + 3 * (2 * 5 + 1)).all()


def test_they_ask_for_no_gradient(table: str) -> None:
    model, net = pair([9, 16, 4], "tanh", scale=3.0)
    x = batch(20, 9)
    y = net.predict(x)
    only = eb.CallableModel(model, classes=4)
    for attack in (eb.attacks.SPSA(eps=0.1, steps=4, samples=3), eb.attacks.NES(eps=0.1, steps=4, samples=3)):
        np.testing.assert_array_equal(attack(only, x, y), attack(model, x, y))


@pytest.mark.parametrize(("attack", "spread"), [(eb.attacks.SPSA, "delta"), (eb.attacks.NES, "sigma")])
def test_bad_options_are_named(attack: Any, spread: str) -> None:
    for name, value in (("samples", 0), (spread, 0.0), ("norm", "l7"), ("steps", -1)):
        with pytest.raises(ValueError, match=rf"^{name}:"):
            attack(**{"eps": 0.1, name: value})
