"""Interval bound propagation as a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball.arguments import class_indices
from epsball.arrays import as_numpy
from epsball.attacks.base import check_own_model
from epsball.evaluation.certificate import Bools, LinfCertificate, ball
from epsball.layers.linear import Linear
from epsball.model import Sequential


@dataclass(frozen=True)
class IBPCertificate(LinfCertificate):
    """Rows whose margins interval bound propagation proves positive in an L∞ ball (Gowal et al. 2018).

    arXiv 1810.12715. The last layer, where it is linear, is elided: the margins z_y − z_j are bounded as one linear
    layer of differences, not through bounds of the logits. Intervals are widened by more than float32 rounding
    can amount to in the sums.

    Bounds of models that were not trained for them (`training.IBPTraining`) are as good as empty.

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
        rows, k = np.arange(len(a)), own.classes
        if not isinstance(own.layers[-1], Linear):
            low, high = own.output_bounds(lower, upper)
            rivals = np.array(high)
            rivals[rows, labels] = -np.inf
            return np.asarray(low[rows, labels] > rivals.max(axis=1))
        gaps = _margins(own).output_bounds(lower, upper)[0].reshape(-1, k, k)[rows, labels]
        gaps[rows, labels] = np.inf
        return np.asarray((gaps > 0).all(axis=1))

    def describe(self) -> str:
        """Write the certificate in a few words."""
        return f"IBP linf eps={self.eps:g}"


def _margins(model: Sequential) -> Sequential:
    """Return a model whose output y · K + j is z_y − z_j, the last layer's weights being differences."""
    last = model.layers[-1]
    assert isinstance(last, Linear)
    k = last.out_features
    margins = Sequential(
        [*model.layers[:-1], Linear(last.in_features, k * k, last.bias)], input_shape=model.input_shape
    ).to(model.device)
    values = model.parameters()
    for name in list(values)[-1 - last.bias :]:
        value = values[name].astype(np.float64)
        gaps = value[:, None] - value[None]
        values[name] = gaps.reshape(k * k, *value.shape[1:]).astype(np.float32)
    margins.load_parameters(values)
    return margins
