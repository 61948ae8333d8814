"""Any predict function as a label source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from epsball.arrays import Array
from epsball.sources.base import LabelSource


class LabelOracle(LabelSource):
    """A function that gives labels, with a meter and a budget.

    Parameters
    ----------
    predict
        ``predict(x)`` returns the labels (rows,) of x (rows, *input_shape), a NumPy array of the caller's dtype: NumPy,
        torch or JAX integers or a list of them. ``model.predict`` of any epsball model or gradient source is one, and
        so is that of a scikit-learn classifier whose classes are 0, 1, 2, ….
    budget, classes, input_shape
        As in `LabelSource`.

    Raises
    ------
    TypeError
        `predict` cannot be called.

    Examples
    --------
    >>> import epsball as eb, numpy as np
    >>> oracle = eb.LabelOracle(lambda x: (x.sum(axis=1) > 1).astype(int), budget=1000)
    >>> oracle.predict(np.array([[0.2, 0.3], [0.9, 0.4]])), oracle.queries
    (array([0, 1]), 2)
    """

    def __init__(
        self,
        predict: Callable[[Array], Any],
        budget: int | None = None,
        classes: int | None = None,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(budget, classes, input_shape)
        if not callable(predict):
            raise TypeError(f"predict: wanted a function, got {predict!r}")
        self._predict = predict

    def __repr__(self) -> str:
        return f"LabelOracle({self._predict!r})"

    def labels(self, x: Array) -> Any:
        """Return what the function `predict` gives."""
        return self._predict(x)
