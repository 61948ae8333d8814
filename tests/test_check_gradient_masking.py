"""evaluation.check_gradient_masking: a sound model passes, and models that are wrong by design are found out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import epsball as eb
from epsball.evaluation import check_gradient_masking

EPS = 0.1


@pytest.fixture(scope="module")
def problem(digits: dict[str, np.ndarray]) -> tuple[Any, np.ndarray, np.ndarray]:
    model = eb.models.mlp([784, 32, 10])
    eb.fit(model, digits["x"][:1000].reshape(-1, 784), digits["y"][:1000], epochs=5)
    return model, digits["xt"][:100].reshape(-1, 784), digits["yt"][:100]


def pulled(model: Any, x: np.ndarray, dlogits: np.ndarray) -> np.ndarray:
    return np.einsum("nk,nkd->nd", dlogits, model.jacobian(x))


def test_a_sound_model_shows_no_sign(problem: Any) -> None:
    model, x, y = problem
    surrogate = eb.models.mlp([784, 32, 10], seed=1)
    eb.fit(surrogate, x, y, epochs=20)
    report = check_gradient_masking(model, x, y, EPS, steps=20, samples=20, surrogate=surrogate)
    assert not report.masked, str(report)
    assert all(check.passed is True for check in report.checks)
    assert 0 <= report.robust_accuracy < 0.5
    assert "robust accuracy at most" in str(report)


def test_gradients_that_are_zero_are_found(problem: Any) -> None:
    model, x, y = problem
    # The answers are the model's own; its gradient is what a rounding layer would leave of it.
    step = eb.CallableModel(model, lambda a, d: np.zeros_like(a), classes=10)
    report = check_gradient_masking(step, x, y, EPS, steps=5, samples=20, surrogate=model)
    assert {"gradients are not zero", "an unbounded attack always succeeds", "a larger budget finds more",
            "white box beats black box"} <= set(report.failed)  # fmt: skip
    plain = eb.evaluate(step, x, y, attacks=[eb.attacks.PGD(eps=EPS, steps=5, random_start=False)])
    assert report.robust_accuracy < plain.robust_accuracy - 0.3
    assert "signs of gradient masking" in str(report)


def test_saturated_models_are_found(problem: Any) -> None:
    model, x, y = problem
    hard = eb.models.mlp([784, 32, 10], activation="sigmoid")
    values = dict(model.parameters())
    values = {n: v * (1e5 if n.startswith("0.") else 1) for n, v in values.items()}
    hard.load_parameters(values)
    y = hard.predict(x)
    report = check_gradient_masking(hard, x, y, EPS, steps=5, samples=20)
    assert "gradients are not zero" in report.failed, str(report)


def test_one_step_that_beats_many_is_found(problem: Any) -> None:
    model, x, y = problem
    clean = {row.tobytes() for row in x}

    def gradient(a: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Right on the clean rows, nowhere near them."""
        known = np.array([row.tobytes() in clean for row in a])
        return np.where(known[:, None], pulled(model, a, d), -pulled(model, a, d)).astype(np.float32)

    source = eb.CallableModel(model, gradient, classes=10)
    report = check_gradient_masking(source, x, y, EPS, steps=20, samples=5)
    assert "many steps beat one" in report.failed, str(report)


def test_randomised_models_are_found(problem: Any) -> None:
    model, x, y = problem
    rng = np.random.default_rng(0)
    noisy = eb.CallableModel(
        lambda a: model(a) + rng.normal(0, 0.5, (len(a), 10)).astype(np.float32),
        lambda a, d: pulled(model, a, d),
        classes=10,
    )
    assert "answers are the same each time" in check_gradient_masking(noisy, x, y, EPS, steps=3, samples=3).failed


def test_probabilities_for_logits_are_found(problem: Any) -> None:
    model, x, y = problem

    def gradient(a: np.ndarray, d: np.ndarray) -> np.ndarray:
        p = model.probabilities(a)
        return pulled(model, a, p * (d - (d * p).sum(1, keepdims=True)))

    wrong = eb.CallableModel(model.probabilities, gradient, classes=10)
    report = check_gradient_masking(wrong, x, y, EPS, steps=3, samples=3)
    assert "outputs are logits, not probabilities" in report.failed


def test_checks_that_were_not_run_say_so(problem: Any) -> None:
    model, x, y = problem
    report = check_gradient_masking(model, x[:10], y[:10], EPS, steps=3, samples=3, bounds=None)
    left = {check.name: check.found for check in report.checks if check.passed is None}
    assert left == {
        "white box beats black box": "no surrogate was given",
        "an unbounded attack always succeeds": "there is no box to attack within",
    }
    assert "not run" in str(report)


def test_bad_arguments_are_named(problem: Any) -> None:
    model, x, y = problem
    with pytest.raises(ValueError, match=r"y: wanted .* class indices, one per row of x, got shape"):
        check_gradient_masking(model, x, y[:3], EPS)
    with pytest.raises(ValueError, match="eps: wanted a number"):
        check_gradient_masking(model, x, y, 0)
    with pytest.raises(TypeError, match="gives labels only"):
        check_gradient_masking(eb.LabelOracle(model.predict), x, y, EPS)
    with pytest.raises(ValueError, match="tolerance: wanted a number"):
        check_gradient_masking(model, x, y, EPS, tolerance=2)
