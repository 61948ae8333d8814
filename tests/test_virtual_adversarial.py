"""Virtual adversarial directions: the top of the divergence's curvature, found without the label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import epsball as eb
from cases import batch, constant_model, labels, pair

VAT = eb.attacks.VirtualAdversarial
FEATURES, CLASSES, ROWS = 17, 4, 30


def top_directions(model: Any, x: NDArray) -> NDArray:
    """Softmax regression: the first eigenvector of Wᵀ (diag p − p pᵀ) W for every row."""
    weight = model.parameters()["0.weight"].astype(np.float64)
    p = np.asarray(model.probabilities(x), np.float64)
    fisher = [weight.T @ (np.diag(q) - np.outer(q, q)) @ weight for q in p]
    return np.stack([np.linalg.eigh(f)[1][:, -1] for f in fisher])


def test_power_iteration_finds_the_top_of_the_curvature(table: str) -> None:
    model, _ = pair([FEATURES, CLASSES], scale=3.0)
    x = batch(ROWS, FEATURES)
    d = np.asarray(VAT(eps=1.0, steps=50, bounds=None)(model, x), np.float64) - x
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1.0, rtol=1e-5)
    cosine = np.abs((d * top_directions(model, x)).sum(axis=1))
    assert np.median(cosine) > 0.99
    once = np.asarray(VAT(eps=1.0, bounds=None)(model, x), np.float64) - x
    assert np.abs((once * top_directions(model, x)).sum(axis=1)).mean() < cosine.mean()


@pytest.mark.parametrize("margin", [6, 12, 18, 30])
def test_the_direction_of_a_confident_model_is_towards_its_second_class(table: str, margin: float) -> None:
    """Where p is next to 1 the curvature is that of the first two logits' difference, which no rounding may hide."""
    model, _ = pair([FEATURES, 3])
    weight = np.random.default_rng(0).normal(size=(3, FEATURES))
    x = np.repeat(batch(1, FEATURES), ROWS, axis=0)
    bias = np.array([margin, 0.0, -margin]) - weight @ x[0]
    model.load_parameters({"0.weight": weight.astype(np.float32), "0.bias": bias.astype(np.float32)})
    d = np.asarray(VAT(eps=1.0, bounds=None)(model, x), np.float64) - x
    towards = (weight[1] - weight[0]) / np.linalg.norm(weight[1] - weight[0])
    assert (np.abs(d @ towards) > 0.99).mean() > 0.9


def test_predictions_change_more_than_by_noise_of_the_same_length(table: str) -> None:
    model, _ = pair([FEATURES, 16, CLASSES], "tanh", scale=2.0)
    x = batch(ROWS, FEATURES)

    def divergence(x_adv: Any) -> float:
        p, q = (np.asarray(model.probabilities(rows), np.float64) for rows in (x, np.asarray(x_adv)))
        return float((p * np.log(p / q)).sum(axis=1).mean())

    noise = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    noise *= 0.3 / np.linalg.norm(noise, axis=1, keepdims=True)
    assert divergence(VAT(eps=0.3, bounds=None)(model, x)) > 2 * divergence(x + noise)


def test_labels_only_judge(table: str) -> None:
    model, _ = pair([FEATURES, 16, CLASSES], "tanh", scale=2.0)
    x, y = batch(ROWS, FEATURES), labels(ROWS, CLASSES)
    one, other = (VAT(eps=0.5).run(model, x, z) for z in (y, (y + 1) % CLASSES))
    np.testing.assert_array_equal(one.x_adv, other.x_adv)
    np.testing.assert_array_equal(one.x_adv, VAT(eps=0.5)(model, x))
    np.testing.assert_array_equal(one.success, model.predict(one.x_adv) != y)
    np.testing.assert_array_equal(one.loss, model.loss(one.x_adv, y))
    np.testing.assert_array_equal(one.queries, 3)


def test_masked_features_stay_and_the_rest_has_the_whole_length(table: str) -> None:
    model, _ = pair([FEATURES, 16, CLASSES], "tanh", scale=2.0)
    x, mask = batch(ROWS, FEATURES), np.arange(FEATURES) % 3 != 0
    x_adv = np.asarray(VAT(eps=0.5, mask=mask, bounds=None)(model, x))
    np.testing.assert_array_equal(x_adv[:, ~mask], x[:, ~mask])
    np.testing.assert_allclose(np.linalg.norm(x_adv - x, axis=1), 0.5, rtol=1e-5)


def test_rows_without_a_gradient_say_so_and_others_do_not(table: str) -> None:
    x = batch(ROWS, FEATURES)
    still = VAT(eps=0.5).run(constant_model(FEATURES, CLASSES), x)
    assert still.zero_gradient.all()
    np.testing.assert_array_equal(still.x_adv, x)
    model, _ = pair([FEATURES, 16, CLASSES], "tanh", scale=2.0)
    assert not VAT(eps=0.5).run(model, x).zero_gradient.any()


def test_seed_and_index_key_the_direction(table: str) -> None:
    model, _ = pair([FEATURES, 16, CLASSES], "tanh", scale=2.0)
    x = batch(ROWS, FEATURES)
    whole = np.asarray(VAT(eps=0.5, seed=1)(model, x))
    np.testing.assert_array_equal(VAT(eps=0.5, seed=1)(model, x[5:], index=np.arange(5, ROWS)), whole[5:])
    assert (np.asarray(VAT(eps=0.5, seed=2)(model, x)) != whole).any()


@pytest.mark.parametrize(
    ("argument", "value"), [("steps", 0), ("steps", 1.5), ("xi", 0.0), ("xi", "small"), ("norm", "linf"), ("eps", -1)]
)
def test_bad_options_are_named(argument: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=argument):
        VAT(**{"eps": 0.5, argument: value})
