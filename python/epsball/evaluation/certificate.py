"""What proves rows robust: lower bounds of robust accuracy, beside the upper bounds that attacks give."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arrays import as_numpy
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


def class_indices(y: Any, rows: int, classes: int) -> npt.NDArray[np.int64]:
    """Return the labels of so many rows as int64."""
    labels = as_numpy("y", y)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"y: wanted integer class indices, got {labels.dtype}")
    if labels.shape != (rows,):
        raise ValueError(f"y: wanted one class per row of x, shape {(rows,)}, got shape {labels.shape}")
    if rows and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"y: wanted classes from 0 to {classes - 1}, got {labels.min()} to {labels.max()}")
    return labels.astype(np.int64)
