"""Trade-offs between models: exact arithmetic, envelopes against a brute-force search."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import epsball as eb
from epsball.analysis import trade_off


def test_crossing_of_two_lines_is_where_they_are_equal() -> None:
    found = trade_off({"plain": (0.99, 0.0), "robust": (0.95, 0.60)})
    p = 0.04 / (0.04 + 0.60)
    assert found.crossings == {("plain", "robust"): pytest.approx(p)}
    assert found.accuracy("plain", p) == pytest.approx(found.accuracy("robust", p))
    assert found.envelope == ((0.0, pytest.approx(p), "plain"), (pytest.approx(p), 1.0, "robust"))
    assert found.best(0.0) == "plain"
    assert found.best(1.0) == "robust"


def test_a_model_that_is_never_best_is_dominated() -> None:
    """Between the two others at both ends, yet under the envelope: better than each somewhere, best nowhere."""
    found = trade_off({"plain": (0.99, 0.0), "between": (0.96, 0.2), "robust": (0.95, 0.6)})
    assert found.dominated == ("between",)
    assert ("plain", "between") in found.crossings
    assert "nowhere" in str(found)
    assert "at most 60.0%" in str(found)


@pytest.mark.parametrize("seed", range(30))
def test_envelope_is_the_maximum_of_all_lines(seed: int) -> None:
    rng = np.random.default_rng(seed)
    models = {str(i): tuple(rng.integers(0, 11, 2) / 10) for i in range(rng.integers(1, 8))}
    found = trade_off(models)
    assert found.envelope[0][0] == 0
    assert found.envelope[-1][1] == 1
    for (_, last, _), (first, _, _) in pairwise(found.envelope):
        assert last == first
    for p in np.linspace(0, 1, 101):
        best = max(float(found.accuracy(name, p)) for name in models)
        assert float(found.accuracy(found.best(p), p)) == pytest.approx(best, abs=1e-12)
    for first, last, _ in found.envelope:
        assert last > first or len(found.envelope) == 1


def test_reports_of_evaluate_can_be_compared() -> None:
    x, y = eb.datasets.load("mnist-subset", "test")
    reports = {
        f"seed {seed}": eb.evaluate(eb.models.linear(784, 10, seed=seed), x[:50], y[:50], [eb.attacks.FGSM(eps=0.1)])
        for seed in (0, 1)
    }
    found = trade_off(reports)
    assert found.clean == {name: report.clean_accuracy for name, report in reports.items()}
    assert found.adversarial == {name: report.robust_accuracy for name, report in reports.items()}


@pytest.mark.parametrize(
    ("models", "name"),
    [
        ({}, "models"),
        ([(1, 0)], "models"),
        ({"a": (2.0, 0)}, "models"),
        ({"a": 0.5}, "models"),
        ({"a": (0.5, "b")}, "models"),
    ],
)
def test_bad_arguments_are_named(models: Any, name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{name}"):
        trade_off(models)
    good = trade_off({"a": (1, 0)})
    with pytest.raises(ValueError, match=r"^model: "):
        good.accuracy("b", 0.5)
    with pytest.raises(ValueError, match=r"^p: "):
        good.accuracy("a", 1.5)
