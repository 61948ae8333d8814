"""Interval bound propagation as a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from epsball.arguments import class_indices
from epsball.arrays import Array, as_numpy
from epsball.attacks.base import check_own_model
from epsball.evaluation.certificate import Bools, LinfCertificate, ball
from epsball.layers.flatten import Flatten
from epsball.layers.linear import Linear
from epsball.model import Sequential

Doubles: TypeAlias = npt.NDArray[np.float64]
BLOCK = 1024  # rows whose bounds are held at once


@dataclass(frozen=True)
class IBPCertificate(LinfCertificate):
    """Rows whose margins interval bound propagation proves positive in an L∞ ball (Gowal et al. 2018).

    arXiv 1810.12715. The last layer, where it is linear, is elided: the margins z_y − z_j are bounded as one linear
    layer of differences, not through bounds of the logits. What is proved holds for ``model.predict``, in float32:
    intervals are widened by more than rounding can amount to, and margins must exceed it.

    Bounds of models that were not trained for them (`training.IBPTraining`) are too wide to prove anything.

    Parameters
    ----------
    eps
        Radius of the ball.
    bounds
        (lower, upper), numbers or arrays that broadcast to one input; None for no box.
    """

    def certify(self, model: Any, x: Any, y: Any) -> Bools:
        """Return the rows proved right at every point of ball and box, (N,) bool; see `Certificate.certify`."""
        own = check_own_model(model, "intervals are carried through epsball models")
        own.check_intervals()
        a = as_numpy("x", x, device=own.device)
        labels = class_indices("y", y, len(a), max(own.classes, 2))
        lower, upper = ball(a, self.eps, self.bounds)
        if own.classes == 1:
            low, high = own.output_bounds(lower, upper)
            return np.where(labels == 1, low[:, 0] > 0, high[:, 0] < 0)
        if not isinstance(own.layers[-1], Linear):
            rows = np.arange(len(a))
            low, high = own.output_bounds(lower, upper)
            rivals = np.array(high)
            rivals[rows, labels] = -np.inf
            return np.asarray(low[rows, labels] > rivals.max(axis=1))
        return np.asarray((_margins(own, lower, upper, labels) > 0).all(axis=1))

    def describe(self) -> str:
        """Write the certificate in a few words."""
        return f"IBP linf eps={self.eps:g}"


def _margins(model: Sequential, lower: Array, upper: Array, labels: npt.NDArray[np.int64]) -> Doubles:
    """Return how much at least z_y is above each z_j over a row's box, (N, K), as float32 has it; inf where j = y."""
    last = model.layers[-1]
    assert isinstance(last, Linear)
    values = model.parameters()
    own = [values.pop(name).astype(np.float64) for name in list(values)[-1 - last.bias :]]
    weight, bias = own if last.bias else (*own, np.zeros(last.out_features))
    below = model.layers[:-1]
    body = None
    if not all(isinstance(layer, Flatten) for layer in below):
        body = Sequential(below, input_shape=model.input_shape).to(model.device)
        body.load_parameters(values)
    margins = np.empty((len(labels), last.out_features))
    for first in range(0, len(labels), BLOCK):
        rows = slice(first, first + BLOCK)
        ends = (lower[rows], upper[rows]) if body is None else body.output_bounds(lower[rows], upper[rows])
        low, high = (end.reshape(len(end), -1).astype(np.float64) for end in ends)
        margins[rows] = _gaps(weight, bias, low, high, labels[rows])
    return margins


def _gaps(weight: Doubles, bias: Doubles, low: Doubles, high: Doubles, labels: npt.NDArray[np.int64]) -> Doubles:
    """Return the least gaps of a linear layer over boxes of its inputs, less what float32 may round both logits by."""
    centre, radius, largest = (low + high) / 2, (high - low) / 2, np.maximum(np.abs(low), np.abs(high))
    # Twice Higham's bound for a sum of n products and a bias, which leaves room for the float64 sums below.
    rounding = 2.0**-23 * (weight.shape[1] + 2) * (largest @ np.abs(weight).T + np.abs(bias))
    gaps: Doubles = -rounding - np.take_along_axis(rounding, labels[:, None], axis=1)
    for label in np.unique(labels):
        rows, apart = labels == label, weight[label] - weight
        gaps[rows] += centre[rows] @ apart.T - radius[rows] @ np.abs(apart).T + (bias[label] - bias)
    np.put_along_axis(gaps, labels[:, None], np.inf, axis=1)
    return gaps
