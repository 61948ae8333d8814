"""The exact worst case of linear models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arrays import Array, as_numpy
from epsball.attacks.base import Attack, Bounds, Found, check_own_model, configured, device_of
from epsball.attacks.options import box_of, check_index
from epsball.model import Sequential


@dataclass(frozen=True, eq=False)
class LinearExact(Attack):
    """The worst point of a linear model within ball and box, in closed form and float64.

    For every rival class j the margin (w_j − w_y)ᵀx is maximised over ball and box. L∞: feature by feature, eps ·
    sign(w_j − w_y) clipped to the box (Goodfellow et al. 2015, arXiv 1412.6572, section 5). L1: a fractional knapsack
    (Dantzig 1957), whose features of largest coefficient move to the end of the box first. L2: the optimum has the form
    clip(x + (w_j − w_y) / λ) with one multiplier λ. No attack does better.

    Parameters
    ----------
    eps
        Radius: a number or one per row.
    norm
        "linf", "l2" or "l1".
    bounds
        As in `PGD`.

    Raises
    ------
    ValueError, TypeError
        At a call, a model that is not linear (Flatten and one Linear layer), or a trace: there are no iterates.
    """

    reads_x: ClassVar[bool] = True

    eps: Any
    norm: str = "linf"
    bounds: Bounds = (0.0, 1.0)

    def _attack(self, model: Sequential, x: Array, y: Any, index: Any, *, judged: bool, trace: bool) -> Found:
        if trace:
            raise ValueError("trace: the closed form has no iterates")
        n = len(x)
        if index is not None:
            check_index(index, n)
        x_adv, distance, _, labels = _worst(self, model, x, y)
        success = np.asarray(model.predict(x_adv)) != labels
        loss = np.asarray(model.loss(x_adv, labels, loss="margin"))
        return x_adv, success, distance, np.ones(n, np.int64), loss, np.zeros(n, np.bool_)


def linear_exact(
    model: Sequential, x: Any, y: Any = None, eps: Any = 0.3, norm: str = "linf", bounds: Bounds = (0.0, 1.0)
) -> Any:
    """The worst points of a linear model in one call: ``attacks.LinearExact(eps, ...)(model, x, y)``.

    Parameters
    ----------
    model
        A linear model (Flatten and one Linear layer).
    x, y
        (N, ...) inputs and their class indices (N,); y None: the model's own predictions.
    eps, norm, bounds
        As in `attacks.LinearExact`.

    Returns
    -------
    array
        The adversarial points, of x's kind, shape and dtype; ball and box hold exactly, measured in float64.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named.
    """
    return configured(LinearExact, eps, norm, bounds)(model, x, y)


def exact_robust_accuracy(
    model: Sequential, x: Any, y: Any, eps: Any = 0.3, norm: str = "linf", bounds: Bounds = (0.0, 1.0)
) -> float:
    """Return the share of rows that no point of ball and box turns: a certificate, not an upper bound.

    Parameters
    ----------
    model
        A linear model (Flatten and one Linear layer).
    x, y
        (N, ...) inputs and their class indices (N,).
    eps, norm, bounds
        As in `LinearExact`.

    Returns
    -------
    float
        In [0, 1]; a row whose worst margin is an exact tie counts as turned.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named; the model is not linear; x has no rows.
    """
    a = as_numpy("x", x, device=device_of(model))
    _, _, margin, _ = _worst(LinearExact(eps, norm, bounds), model, a, y)
    if len(a) == 0:
        raise ValueError("x: wanted at least one row, got none")
    # A margin of exactly 0 is a tie, which a predictor may break either way.
    return float((margin < 0).mean())


def worst_margins(attack: LinearExact, model: Sequential, x: Array, y: Any) -> npt.NDArray[np.float64]:
    """Return each row's largest margin of a rival class over ball and box; below 0 nothing turns it."""
    return _worst(attack, model, x, y)[2]


def _worst(
    attack: LinearExact, model: Sequential, x: Array, y: Any
) -> tuple[Array, npt.NDArray[np.float64], npt.NDArray[np.float64], Array]:
    check_own_model(model, "the closed form is for linear epsball models")
    labels = np.asarray(model.predict(x)) if y is None else as_numpy("y", y, device=device_of(model))
    box = box_of(attack.bounds, x.shape[1:])
    x_adv, distance, margin = _native.linear_exact(model._native, x, labels, attack.eps, attack.norm, box)
    return x_adv, distance, margin, labels
