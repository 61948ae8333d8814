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


# ---- one behaviour at a time, on lines that are wrong at known places


def line(wrong_at: Any, uphill: Any) -> Any:
    """A model of one feature: class 1 where `wrong_at` says so, else 0; its loss seems to rise by `uphill`."""

    def logits(x: np.ndarray) -> np.ndarray:
        z = np.where(wrong_at(x[:, 0]), 1.0, -1.0)
        return np.stack([-z, z], axis=1).astype(np.float32)

    def gradient(x: np.ndarray, d: np.ndarray) -> np.ndarray:
        towards = d[:, 1] - d[:, 0]
        return (towards * uphill(x[:, 0]))[:, None].astype(np.float32)

    return eb.CallableModel(logits, gradient, classes=2)


def failed_on_the_line(model: Any, **options: Any) -> tuple[str, ...]:
    """What fails for rows at 0.5 that may move by 0.4, in five steps of 0.2."""
    x, y = np.full((40, 1), 0.5, np.float32), np.zeros(40, np.int64)
    return check_gradient_masking(model, x, y, 0.4, steps=5, samples=20, **options).failed


def right(x: np.ndarray) -> np.ndarray:
    return np.ones_like(x)


def test_a_line_that_rises_to_where_it_is_wrong_shows_no_sign() -> None:
    model = line(lambda x: x > 0.7, right)
    assert failed_on_the_line(model, surrogate=model) == ()


def test_a_black_box_that_beats_the_white_box_is_found() -> None:
    masked = line(lambda x: x > 0.7, lambda x: -right(x))
    assert "white box beats black box" in failed_on_the_line(masked, surrogate=line(lambda x: x > 0.7, right))
    assert "white box beats black box" not in failed_on_the_line(masked, surrogate=masked)


def test_an_unbounded_attack_that_fails_is_found() -> None:
    """There is a wrong place, which lies beyond eps and the other way."""
    failed = failed_on_the_line(line(lambda x: x < 0.05, right))
    assert {"an unbounded attack always succeeds", "a larger budget finds more"} <= set(failed)
    assert "gradients find what random points find" not in failed


def test_random_points_that_find_what_gradients_miss_are_found() -> None:
    failed = failed_on_the_line(line(lambda x: x < 0.4, right))
    assert "gradients find what random points find" in failed


def test_scores_and_labels_that_find_what_gradients_miss_are_found() -> None:
    model = line(lambda x: x > 0.88, np.zeros_like)
    failed = failed_on_the_line(model)
    assert {"gradients find what scores find", "gradients find what labels find", "gradients are not zero"} <= {*failed}


def test_a_larger_budget_that_finds_less_is_found() -> None:
    """Half of eps ends in the wrong place; steps for all of eps leap over it."""
    failed = failed_on_the_line(line(lambda x: (x > 0.58) & (x < 0.62), right))
    assert "a larger budget finds more" in failed
    assert "many steps beat one" not in failed


def test_steps_that_are_too_few_are_found() -> None:
    """Iterates are 0.2 apart, and on both sides of the wrong place; at 0.1 they meet it."""
    narrow = line(lambda x: abs(x - 0.6) < 0.03, lambda x: np.sign(np.float32(0.61) - x))
    assert "doubling the steps changes nothing" in failed_on_the_line(narrow)


def test_starts_that_matter_are_found() -> None:
    hill = line(lambda x: x > 0.7, lambda x: np.where(x < 0.55, -1.0, 1.0))
    assert "restarts change nothing" in failed_on_the_line(hill)


def test_a_loss_that_misleads_is_found_by_another_and_by_targets() -> None:
    """The cross-entropy follows a steep third class that never wins; the margin follows the second, which does."""

    def logits(x: np.ndarray) -> np.ndarray:
        away = x[:, 0] - np.float32(0.5)
        return np.stack([0 * away, 0.3 * away - 0.1, np.minimum(-5 * away - 0.5, -0.15)], axis=1)

    def gradient(x: np.ndarray, d: np.ndarray) -> np.ndarray:
        return (0.3 * d[:, 1] - 5 * d[:, 2] * (x[:, 0] > 0.43))[:, None].astype(np.float32)

    failed = failed_on_the_line(eb.CallableModel(logits, gradient, classes=3))
    assert {"another loss finds little more", "targets find little more"} <= set(failed)


def test_logits_that_saturate_a_softmax_hide_nothing(problem: Any) -> None:
    """Of logits a hundred thousand times as large as they were no gradient is zero, as none rounds to it here."""
    model, x, y = problem
    large = eb.models.mlp([784, 32, 10])
    large.load_parameters({n: v * (1e5 if n.startswith("2.") else 1) for n, v in model.parameters().items()})
    report = check_gradient_masking(large, x, y, EPS, steps=20, samples=5)
    assert not report.masked, str(report)
    assert report.robust_accuracy < 0.5


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
        "gradients find what labels find": "there is no box to start in",
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
