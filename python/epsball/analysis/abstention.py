"""A model that may refuse to answer: how much it answers, and how often it is wrong then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import number
from epsball.arrays import as_numpy
from epsball.attacks.base import on_host


@dataclass(frozen=True)
class CoverageCurve:
    """Coverage and error over all thresholds of confidence, from full coverage on.

    Attributes
    ----------
    threshold
        (T,) rising: rows of at least this confidence are answered.
    coverage
        (T,) share of rows answered.
    error
        (T,) share of the answered rows that are wrong.
    confidences, right
        (N,) what the curve is made of, row by row.
    """

    threshold: npt.NDArray[np.float64]
    coverage: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]
    confidences: npt.NDArray[np.float64]
    right: npt.NDArray[np.bool_]

    def at(self, coverage: float) -> tuple[float, float]:
        """Return (threshold, error) at the highest threshold whose coverage is at least `coverage`, in [0, 1]."""
        share = number("coverage", coverage, 0, 1)
        enough = np.flatnonzero(self.coverage >= share)
        return float(self.threshold[enough[-1]]), float(self.error[enough[-1]])

    def area(self) -> float:
        """Return the mean error over all coverages: 0 if every mistake is less confident than every right answer."""
        order = np.argsort(-self.confidences, kind="stable")
        wrong = np.cumsum(~self.right[order])
        return float((wrong / np.arange(1, len(wrong) + 1)).mean())


def coverage_curve(model: Any, x: Any, y: Any) -> CoverageCurve:
    """Return how error falls as a model refuses the rows that it is least confident of.

    On adversarial rows this says what refusing is worth against an attack that does not know of it; one that does
    maximises confidence (`attacks.MaxConfidence`).

    Parameters
    ----------
    model
        With `probabilities`: an epsball model or a gradient source.
    x, y
        (N, ...) inputs, clean or adversarial, and their true classes (N,).

    Returns
    -------
    CoverageCurve
        One point for every confidence that occurs.

    Raises
    ------
    ValueError, TypeError
        No rows, labels that do not fit, a model without probabilities.
    """
    if not hasattr(model, "probabilities"):
        raise TypeError(f"model: wanted one with probabilities, got {type(model).__name__}")
    x, labels = on_host("x", x, model), as_numpy("y", on_host("y", y, model))
    p = np.asarray(as_numpy("probabilities", model.probabilities(x)), np.float64)
    if p.shape[1] == 1:  # a logistic model gives the probability of class 1 only
        p = np.hstack([1 - p, p])
    if labels.dtype.kind not in "iu" or labels.shape != (len(p),) or len(p) == 0:
        raise ValueError(
            f"y: wanted one class index per row of x, at least one, got {labels.dtype} of shape {labels.shape}"
        )
    confidences = p.max(axis=1)
    right = np.asarray(as_numpy("predictions", model.predict(x))) == labels
    thresholds = np.unique(confidences)
    answered = len(p) - np.searchsorted(np.sort(confidences), thresholds, side="left")
    wrong = np.sort(confidences[~right])
    mistakes = len(wrong) - np.searchsorted(wrong, thresholds, side="left")
    return CoverageCurve(thresholds, answered / len(p), mistakes / answered, confidences, right)
