"""evaluation.accuracy_interval: Clopper and Pearson's interval, in words that begin with "at most"."""

from __future__ import annotations

import numpy as np
import pytest

from epsball.evaluation import accuracy_interval

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("rows", [1, 7, 100, 1000, 10000])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.883, 1.0])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_it_is_scipys_exact_interval(rows: int, fraction: float, confidence: float) -> None:
    right = round(fraction * rows)
    found = accuracy_interval(np.arange(rows) < right, confidence)
    wanted = stats.binomtest(right, rows).proportion_ci(confidence, method="exact")
    assert found.lower == pytest.approx(wanted.low, abs=1e-9)
    assert found.upper == pytest.approx(wanted.high, abs=1e-9)
    assert found.accuracy == right / rows


def test_it_says_at_most() -> None:
    text = str(accuracy_interval(np.arange(1000) < 883))
    assert text.startswith("at most 88.3% of 1000 rows")
    assert "86.1% to 90.2% (95% confidence)" in text


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="robust: wanted at least one row"):
        accuracy_interval(np.zeros(0, bool))
    with pytest.raises(TypeError, match="robust: wanted one bool per row, got int64"):
        accuracy_interval(np.zeros(3, int))
    for bad in (0, 1, 1.5):
        with pytest.raises(ValueError, match="confidence: wanted a number"):
            accuracy_interval(np.ones(3, bool), bad)
