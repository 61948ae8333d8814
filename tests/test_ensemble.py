"""Ensemble: the mean of logits, probabilities or losses, its gradient, and that it is attacked as one model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels, pair

FEATURES, CLASSES, ROWS = 7, 4, 20
X = batch(ROWS, FEATURES)
MEANS = pytest.mark.parametrize("mean", ["logits", "probabilities", "losses"])


def members() -> list[Any]:
    return [pair([FEATURES, 6, CLASSES], "tanh", seed, scale=2.0)[0] for seed in range(3)]


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def wanted(models: list[Any], x: np.ndarray, weights: Any, mean: str) -> np.ndarray:
    """In float64, from the members' logits."""
    w = np.asarray(weights, np.float64) / np.sum(weights)
    each = [np.asarray(m(x), np.float64) for m in models]
    if mean == "logits":
        return sum(a * z for a, z in zip(w, each, strict=True))
    if mean == "losses":
        return sum(a * np.log(softmax(z)) for a, z in zip(w, each, strict=True))
    return np.log(sum(a * softmax(z) for a, z in zip(w, each, strict=True)))


@pytest.mark.parametrize("weights", [[1, 1, 1], [0.5, 2, 0.1], [0, 1, 3]])
@MEANS
def test_logits_are_the_mean_of_the_members(mean: str, weights: list[float]) -> None:
    models = members()
    ensemble = eb.Ensemble(models, mean, weights)
    np.testing.assert_allclose(ensemble(X), wanted(models, X, weights, mean), rtol=1e-5, atol=1e-5)
    if mean == "probabilities":
        p = sum(w * softmax(np.asarray(m(X), np.float64)) for w, m in zip(weights, models, strict=True)) / sum(weights)
        np.testing.assert_allclose(ensemble.probabilities(X), p, rtol=1e-5, atol=1e-6)


def test_the_logit_loss_of_mean_losses_is_the_mean_of_cross_entropies() -> None:
    models, y, weights = members(), labels(ROWS, CLASSES), [1, 2, 0.5]
    ensemble = eb.Ensemble(models, "losses", weights)
    shares = np.array(weights) / sum(weights)
    loss = sum(w * m.loss(X, y) for w, m in zip(shares, models, strict=True))
    gradient = sum(w * m.input_gradient(X, y) for w, m in zip(shares, models, strict=True))
    np.testing.assert_allclose(ensemble.loss(X, y, loss="logit"), loss, rtol=1e-5)
    np.testing.assert_allclose(ensemble.input_gradient(X, y, loss="logit"), gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "logit"])
@MEANS
def test_the_gradient_is_the_slope_of_the_mean(mean: str, loss: str) -> None:
    ensemble = eb.Ensemble(members(), mean, [1, 2, 0.5])
    y = labels(ROWS, CLASSES)
    gradient = ensemble.input_gradient(X, y, loss=loss)
    h = 2e-3
    for i in range(FEATURES):
        step = np.zeros(FEATURES, np.float32)
        step[i] = h
        up, down = (ensemble.loss(X + s * step, y, loss=loss).astype(np.float64) for s in (1, -1))
        np.testing.assert_allclose(gradient[:, i], (up - down) / (2 * h), atol=2e-2)


@MEANS
def test_one_member_is_the_model_itself(mean: str) -> None:
    model = members()[0]
    ensemble = eb.Ensemble([model], mean)
    np.testing.assert_array_equal(ensemble.predict(X), model.predict(X))
    y = labels(ROWS, CLASSES)
    np.testing.assert_allclose(ensemble.loss(X, y), model.loss(X, y), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ensemble.input_gradient(X, y), model.input_gradient(X, y), rtol=1e-3, atol=1e-5)


@MEANS
def test_what_fools_the_ensemble_is_found_by_every_attack_on_it(mean: str) -> None:
    ensemble = eb.Ensemble(members(), mean)
    y = ensemble.predict(X)
    for attack in (eb.attacks.PGD(eps=0.3, steps=10), eb.attacks.DDN(steps=30), eb.attacks.Square(eps=0.3, queries=50)):
        result = attack.run(ensemble, X, y)
        np.testing.assert_array_equal(result.success, ensemble.predict(result.x_adv) != y)
        assert result.success.mean() > 0.3


def test_confident_members_do_not_overflow() -> None:
    models = [pair([FEATURES, CLASSES], seed=s, scale=1e4)[0] for s in range(2)]
    ensemble = eb.Ensemble(models, "probabilities")
    assert np.isfinite(ensemble(X)).all()
    assert np.isfinite(ensemble.input_gradient(X, labels(ROWS, CLASSES))).all()


def test_members_may_be_gradient_sources_and_single_logits() -> None:
    w = np.ones((1, FEATURES), np.float32)
    source = eb.CallableModel(lambda x: x @ w.T - 3, lambda x, d: d @ w)
    own = eb.models.linear(FEATURES, 1)
    ensemble = eb.Ensemble([source, own])
    np.testing.assert_allclose(ensemble(X), (source(X) + own(X)) / 2, rtol=1e-5, atol=1e-6)
    assert eb.fgsm(ensemble, X, (X[:, 0] > 0.5).astype(int), eps=0.1).shape == X.shape


def test_bad_arguments_are_named() -> None:
    models = members()
    with pytest.raises(ValueError, match="models: wanted at least one"):
        eb.Ensemble([])
    with pytest.raises(TypeError, match="models: wanted epsball models or gradient sources, got str"):
        eb.Ensemble(["a"])  # type: ignore[list-item]
    with pytest.raises(
        ValueError, match=r"models: wanted the same number of classes in all of them, got \[4, 4, 4, 3\]"
    ):
        eb.Ensemble([*models, eb.models.linear(FEATURES, 3)])
    with pytest.raises(ValueError, match="mean"):
        eb.Ensemble(models, "median")
    for weights in ([1, 2], [1, -1, 1], [0, 0, 0], [1, np.nan, 1]):
        with pytest.raises(ValueError, match="weights: wanted 3 finite numbers"):
            eb.Ensemble(models, weights=weights)
    with pytest.raises(ValueError, match="mean: wanted 'logits' for models of a single logit"):
        eb.Ensemble([eb.models.linear(FEATURES, 1)], "probabilities")
