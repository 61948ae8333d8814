"""The exact robust accuracy of linear models as a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball.arguments import FLOAT32, class_indices, number, one_of, settle
from epsball.arrays import as_numpy
from epsball.attacks.base import Bounds, device_of
from epsball.attacks.linear_exact import LinearExact, worst_margins
from epsball.evaluation.certificate import Bools, Certificate


@dataclass(frozen=True)
class LinearCertificate(Certificate):
    """Rows of a linear model that no point of ball and box turns: exact, so that no attack does better.

    Parameters
    ----------
    eps
        Radius of the ball.
    norm
        "linf", "l2" or "l1".
    bounds
        As in `attacks.LinearExact`.
    """

    eps: float
    norm: str = "linf"
    bounds: Bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        eps, norm = number("eps", self.eps, 0, float(FLOAT32.max)), one_of("norm", self.norm, LinearExact.norms)
        settle(self, eps=eps, norm=norm)

    def certify(self, model: Any, x: Any, y: Any) -> Bools:
        """Return the rows proved right at every point of ball and box, (N,) bool; see `Certificate.certify`."""
        a = as_numpy("x", x, device=device_of(model))
        margins = worst_margins(LinearExact(self.eps, self.norm, self.bounds), model, a, y)
        class_indices("y", y, len(a), max(model.classes, 2))
        return np.asarray(margins < 0)  # exactly 0 is a tie, which a predictor may break either way

    def describe(self) -> str:
        """Write the certificate in a few words."""
        return f"exact {self.norm} eps={self.eps:g}"
