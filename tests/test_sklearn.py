"""epsball.sklearn.RobustClassifier: a scikit-learn estimator in every respect, and robust."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import epsball as eb

pytest.importorskip("sklearn")
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import check_estimator

from epsball.sklearn import RobustClassifier


@pytest.mark.filterwarnings("default")  # the checks warn of what they leave out
def test_it_passes_scikit_learns_checks() -> None:
    results = check_estimator(RobustClassifier(), on_skip=None)
    assert len(results) > 40
    assert [result["check_name"] for result in results if result["status"] == "failed"] == []


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    return x / 16, np.array([f"digit {k}" for k in y])


def test_training_against_attacks_makes_it_robust(data: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = data
    options = {"bounds": (0.0, 1.0), "epochs": 30, "random_state": 0}
    robust = RobustClassifier(eps=0.1, **options).fit(x[:1200], y[:1200])
    plain = RobustClassifier(eps=0.0, **options).fit(x[:1200], y[:1200])
    attack = eb.attacks.PGD(eps=0.1, steps=40)
    assert robust.score(x[1200:], y[1200:]) > 0.85
    assert plain.score(x[1200:], y[1200:]) > 0.9
    gap = robust.robust_score(x[1200:], y[1200:]) - plain.robust_score(x[1200:], y[1200:], attack)
    assert gap > 0.1
    assert robust.robust_score(x[1200:], y[1200:]) <= robust.score(x[1200:], y[1200:])


def test_fits_repeat_and_survive_pickling(data: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = data
    options = {"epochs": 2, "random_state": 3, "hidden_layer_sizes": ()}
    one, two = (RobustClassifier(**options).fit(x[:200], y[:200]) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(x), two.predict_proba(x))
    copy = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(one.decision_function(x), copy.decision_function(x))
    np.testing.assert_allclose(one.predict_proba(x).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(one.classes_[one.decision_function(x).argmax(axis=1)], one.predict(x))


def test_bad_arguments_are_named(data: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = data
    with pytest.raises(ValueError, match="y: wanted at least two classes"):
        RobustClassifier().fit(x[:5], ["a"] * 5)
    with pytest.raises(ValueError, match="batch_size: wanted an integer >= 1"):
        RobustClassifier(batch_size=0).fit(x[:50], y[:50])
    with pytest.raises(ValueError, match="norm: wanted one of"):
        RobustClassifier(norm="l7").fit(x[:50], y[:50])
    fitted = RobustClassifier(epochs=1).fit(x[:50], y[:50])
    with pytest.raises(ValueError, match="y: wanted labels among"):
        fitted.robust_score(x[:5], ["cat"] * 5)
    with pytest.raises(ValueError, match="y: wanted 5 labels, one per row of X, got shape"):
        fitted.robust_score(x[:5], None)
    with pytest.raises(TypeError, match="attack: wanted an attack such as"):
        fitted.robust_score(x[:5], y[:5], "pgd")
    with pytest.raises(ValueError, match="attack: wanted an untargeted attack"):
        fitted.robust_score(x[:5], y[:5], eb.attacks.PGD(eps=0.1, targeted=True))
    for options in ({"eps": None}, {"hidden_layer_sizes": 10}, {"bounds": (np.zeros(64), np.ones(64))}):
        with pytest.raises(TypeError, match=f"{next(iter(options))}: wanted "):
            RobustClassifier(**options).fit(x[:50], y[:50])


def test_rows_may_reach_bounds_that_float32_would_round_them_over() -> None:
    x = np.array([[0.1, 7.9], [7.9, 0.1]] * 5)
    assert float(np.float32(7.9)) > 7.9
    fitted = RobustClassifier(bounds=(0.1, 7.9), epochs=20, batch_size=1, random_state=0).fit(x, [0, 1] * 5)
    assert fitted.robust_score(x, [0, 1] * 5) == 1
