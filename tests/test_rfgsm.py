"""R+FGSM (Tramer et al. 2017): a random sign step of length alpha, then FGSM with what is left of eps."""

from __future__ import annotations

import numpy as np
import pytest

import epsball as eb
from cases import batch, labels
from oracle import U


def one_direction(features: int):
    """A logistic model whose gradient sign is known everywhere: weights all positive."""
    model = eb.models.linear(features, 1)
    model.load_parameters({"0.weight": np.ones((1, features)), "0.bias": np.zeros(1)})
    return model


@pytest.mark.parametrize("alpha", [0.05, 0.1, None])
def test_point_is_a_random_sign_plus_the_gradient_sign(table: str, alpha: float | None) -> None:
    x = np.full((50, 33), 0.5, np.float32)
    y = np.ones(50, int)  # raising the loss means lowering every feature
    run = eb.attacks.RFGSM(eps=0.2, alpha=alpha, bounds=None).run(one_direction(33), x, y)
    a = 0.1 if alpha is None else alpha
    d = np.asarray(run.x_adv, np.float64) - 0.5
    low, high = -(0.2 - a) - a, -(0.2 - a) + a
    is_low, is_high = np.abs(d - low) < 8 * U, np.abs(d - high) < 8 * U
    assert (is_low | is_high).all()
    share = is_low.mean()
    assert abs(share - 0.5) < 5 * 0.5 / d.size**0.5  # five standard deviations of a fair coin


def test_random_signs_differ_between_rows_and_follow_the_seed(table: str) -> None:
    x, y = np.full((9, 33), 0.5, np.float32), np.ones(9, int)
    model = one_direction(33)

    def points(seed: int) -> np.ndarray:
        return np.asarray(eb.attacks.RFGSM(eps=0.2, seed=seed)(model, x, y))

    np.testing.assert_array_equal(points(1), points(1))
    assert (points(1) != points(2)).any()
    assert len(np.unique(points(1), axis=0)) == 9


def test_alpha_zero_is_fgsm(table: str) -> None:
    x, y = batch(9, 33), labels(9, 1)
    model = one_direction(33)
    np.testing.assert_array_equal(
        eb.attacks.RFGSM(eps=0.2, alpha=0.0)(model, x, y), eb.attacks.FGSM(eps=0.2)(model, x, y)
    )


def test_gradient_is_taken_at_the_random_point(table: str) -> None:
    """A model that is flat at x and steep a little away: FGSM is blind, R+FGSM is not."""
    model = eb.Sequential([eb.Linear(1, 1), eb.ReLU(), eb.Linear(1, 1)], input_shape=(1,))
    model.load_parameters(
        {
            "0.weight": np.array([[1.0]]),
            "0.bias": np.array([-0.5]),
            "2.weight": np.array([[-8.0]]),
            "2.bias": np.array([1.0]),
        }
    )
    x, y = np.full((40, 1), 0.5, np.float32), np.ones(40, int)
    assert eb.attacks.FGSM(eps=0.4).run(model, x, y).success.sum() == 0
    success = eb.attacks.RFGSM(eps=0.4).run(model, x, y).success
    assert 8 <= success.sum() <= 32  # half the rows start on the steep side, within four deviations


def test_other_norms_are_refused() -> None:
    x, y = batch(3, 5), labels(3, 1)
    with pytest.raises(ValueError, match="norm"):
        eb.attacks.RFGSM(eps=0.1, norm="l2")(one_direction(5), x, y)
