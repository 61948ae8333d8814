"""What mistakes cost: errors weighted by a matrix, for the defender and for the attacker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arrays import as_numpy


@dataclass(frozen=True)
class CostReport:
    """What `expected_cost` found.

    Attributes
    ----------
    mean
        Cost per row.
    worst
        The most that one row cost.
    confusion : ndarray of int64, shape (K, K + 1)
        How often class i was answered by class j; the last column counts abstentions.
    per_class : ndarray, shape (K,)
        Mean cost of the rows of each true class, NaN where there are none.
    """

    mean: float
    worst: float
    confusion: npt.NDArray[np.int64]
    per_class: npt.NDArray[np.float64]


def expected_cost(predictions: Any, y: Any, costs: Any) -> CostReport:
    """Weigh answers by a cost matrix.

    The 0-1 loss is ``1 - np.eye(K)``; an attacker's gain may be another matrix, and the game is then not zero-sum
    (Goodfellow 2018, arXiv 1806.04169).

    Parameters
    ----------
    predictions
        (N,) answers: classes, or −1 for an abstention.
    y
        (N,) true classes.
    costs
        (K, K): the cost of answering j where i is true; or (K, K + 1), the last column being that of abstaining.

    Returns
    -------
    CostReport
        Mean and worst cost, the confusion matrix, costs per true class.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, classes outside the matrix, an abstention that has no cost, costs that are not finite.
    """
    said, true = (_classes(name, value) for name, value in (("predictions", predictions), ("y", y)))
    matrix = np.asarray(as_numpy("costs", costs), np.float64)
    k = matrix.shape[0] if matrix.ndim == 2 else 0
    if matrix.ndim != 2 or matrix.shape not in ((k, k), (k, k + 1)) or not np.isfinite(matrix).all() or k == 0:
        raise ValueError(f"costs: wanted finite numbers of shape (K, K) or (K, K + 1), got shape {matrix.shape}")
    if said.shape != true.shape or len(true) == 0:
        raise ValueError(f"predictions: wanted one per row of y, at least one, got {len(said)} for {len(true)}")
    if not (0 <= true.min() <= true.max() < k):
        raise ValueError(f"y: wanted classes from 0 to {k - 1}, got {true.min()} to {true.max()}")
    if not (-1 <= said.min() <= said.max() < k):
        raise ValueError(f"predictions: wanted classes from 0 to {k - 1} or -1, got {said.min()} to {said.max()}")
    if said.min() < 0 and matrix.shape[1] == k:
        raise ValueError("costs: wanted a last column, the cost of abstaining, as some predictions are -1")
    answered = np.where(said < 0, k, said)
    cost = matrix[true, answered]
    confusion = np.zeros((k, k + 1), np.int64)
    np.add.at(confusion, (true, answered), 1)
    counts = np.bincount(true, minlength=k)
    with np.errstate(invalid="ignore"):
        per_class = np.bincount(true, cost, minlength=k) / counts
    return CostReport(float(cost.mean()), float(cost.max()), confusion, per_class)


def _classes(name: str, value: Any) -> npt.NDArray[np.int64]:
    a = as_numpy(name, value)
    if a.dtype.kind not in "biu" or a.ndim != 1:
        raise TypeError(f"{name}: wanted integers of shape (N,), got {a.dtype} of shape {a.shape}")
    return a.astype(np.int64)
