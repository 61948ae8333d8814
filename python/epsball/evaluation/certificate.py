"""What proves rows robust: lower bounds of robust accuracy, beside the upper bounds that attacks give."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import FLOAT32, number, settle
from epsball.arrays import Array
from epsball.attacks.base import Bounds
from epsball.attacks.options import normal_bounds
from epsball.reports.files import plain

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Certificate(ABC):
    """Base of all certificates: a ball, and a proof that no point of it turns a row."""

    @abstractmethod
    def certify(self, model: Any, x: Any, y: Any) -> Bools:
        """Return the rows that are proved right at every point of ball and box.

        Parameters
        ----------
        model
            An epsball model.
        x, y
            (N, ...) inputs and their class indices (N,).

        Returns
        -------
        ndarray of bool, shape (N,)
            True: robust. False says nothing: the proof failed, or the row is not robust.

        Raises
        ------
        ValueError, TypeError
            A bad argument, or a model that the certificate is not for.
        """

    @abstractmethod
    def describe(self) -> str:
        """Write the certificate in a few words: ``IBP linf eps=0.1``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration, ready for JSON."""
        return {"certificate": type(self).__name__, **plain({f.name: getattr(self, f.name) for f in fields(self)})}


@dataclass(frozen=True)
class LinfCertificate(Certificate):
    """Base of certificates for an L∞ ball.

    Parameters
    ----------
    eps, bounds
        As in `IBPCertificate`.
    """

    eps: float
    bounds: Bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        settle(self, eps=number("eps", self.eps, 0, float(FLOAT32.max)))


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
