"""How far a fraction of rows that were counted right may be from the fraction of all rows there are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball.arguments import BELOW_ONE, number
from epsball.arrays import as_numpy
from epsball.reports.tables import percent


@dataclass(frozen=True)
class AccuracyInterval:
    """An accuracy under attack with the uncertainty of the sample.

    Attributes
    ----------
    accuracy
        Fraction of the rows that stayed right: at most this much of them is robust, as other attacks may find more.
    lower, upper
        Clopper and Pearson's interval for the fraction that these attacks would leave right of all rows there are.
        Robust accuracy is at most `upper` with this confidence; `lower` says nothing of it, as others may find more.
    confidence
        Of the interval, both sides together.
    rows
        How many rows were counted.
    """

    accuracy: float
    lower: float
    upper: float
    confidence: float
    rows: int

    def __str__(self) -> str:
        """Return it in words, which begin with "at most"."""
        return (
            f"at most {percent(self.accuracy)} of {self.rows} rows; of all rows these attacks leave "
            f"{percent(self.lower)} to {percent(self.upper)} ({100 * self.confidence:g}% confidence)"
        )


def accuracy_interval(robust: Any, confidence: float = 0.95) -> AccuracyInterval:
    """Return the exact binomial interval of an accuracy (Clopper and Pearson 1934).

    Parameters
    ----------
    robust
        (N,) bool: the rows that stayed right, as `EvaluationReport.robust`.
    confidence
        In (0, 1).

    Returns
    -------
    AccuracyInterval
        Each side is missed with probability (1 − confidence) / 2 at most.

    Raises
    ------
    ValueError, TypeError
        No rows, or anything but one bool per row; a confidence outside (0, 1).
    """
    a = as_numpy("robust", robust)
    if a.ndim != 1 or a.dtype != np.bool_:
        raise TypeError(f"robust: wanted one bool per row, got {a.dtype} of shape {a.shape}")
    if len(a) == 0:
        raise ValueError("robust: wanted at least one row, got none")
    confidence = number("confidence", confidence, float(np.nextafter(0, 1)), BELOW_ONE)
    right, rows, miss = int(a.sum()), len(a), (1 - confidence) / 2
    lower, upper = lower_limit(right, rows, miss), 1 - lower_limit(rows - right, rows, miss)
    return AccuracyInterval(right / rows, lower, upper, confidence, rows)


def lower_limit(right: int, rows: int, miss: float) -> float:
    """Return a lower bound of a probability that holds with confidence 1 − `miss` (Clopper and Pearson 1934, one side).

    It is the p at which at least the observed number of successes has the probability `miss`.
    """
    return 0.0 if right == 0 else _solve(lambda p: binomial_at_most(rows - right, rows, 1 - p), miss)


def binomial_at_most(count: int, rows: int, p: float) -> float:
    """Return the probability of at most `count` successes, each of probability p, in `rows` trials."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return float(count >= rows)
    k = np.arange(count + 1)
    steps = np.concatenate([[0.0], np.cumsum(np.log((rows - k[:-1]) / (k[:-1] + 1)))])  # log of n over k
    logs = steps + k * math.log(p) + (rows - k) * math.log1p(-p)
    most = logs.max()
    return float(np.exp(logs - most).sum() * math.exp(most))


def _solve(rising: Any, level: float) -> float:
    """Return where a function that rises on [0, 1] reaches a level."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return low
