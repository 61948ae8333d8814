"""Interval bound propagation as a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball.arguments import FLOAT32, number, settle
from epsball.arrays import Array, as_numpy
from epsball.attacks.base import Bounds, check_own_model, normal_bounds
from epsball.evaluation.certificate import Bools, Certificate, class_indices
from epsball.layers.linear import Linear
from epsball.model import Sequential


@dataclass(frozen=True)
class IBPCertificate(Certificate):
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

    eps: float
    bounds: Bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        settle(self, eps=number("eps", self.eps, 0, float(FLOAT32.max)))

    def certify(self, model: Any, x: Any, y: Any) -> Bools:
        """Return the rows proved right at every point of ball and box, (N,) bool; see `Certificate.certify`."""
        own = check_own_model(model, "intervals are carried through epsball models")
        own.check_intervals()
        a = as_numpy("x", x, device=own.device)
        labels = class_indices(y, len(a), max(own.classes, 2))
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


def ball(x: Array, eps: float, bounds: Bounds) -> tuple[Array, Array]:
    """Return the corners (N, ...), float32, of boxes that hold L∞ ball and box of every row."""
    wide = x.reshape(len(x), -1).astype(np.float64)
    low, high = wide - eps, wide + eps
    if bounds is not None:
        lo, hi = normal_bounds(bounds, x.shape[1:])
        low, high = np.maximum(low, lo), np.minimum(high, hi)
        if not (low <= high).all():
            raise ValueError(f"x: wanted values within the bounds {bounds}, got others")
    down, up = low.astype(np.float32), high.astype(np.float32)
    down = np.where(down > low, np.nextafter(down, np.float32(-np.inf)), down)
    up = np.where(up < high, np.nextafter(up, np.float32(np.inf)), up)
    return down.reshape(x.shape), up.reshape(x.shape)


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
