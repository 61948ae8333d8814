"""Any two functions as a gradient source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from epsball.sources.base import Floats, GradientSource, Pull


class CallableModel(GradientSource):
    """A model given by two functions: its logits, and how it pulls a gradient of them back to the input.

    Parameters
    ----------
    logits
        ``logits(x)`` returns (rows, classes) for x (rows, *input_shape), a float32 NumPy array.
    input_gradient
        ``input_gradient(x, dlogits)`` returns the gradient of ``(dlogits * logits(x)).sum()`` with respect to x, in x's
        shape: the vector-Jacobian product. It is not the gradient of a loss with respect to labels, since losses are
        the engine's; where there is a Jacobian J (rows, classes, ...) it is
        ``lambda x, d: np.einsum("nk,nk...->n...", d, J(x))``. None: the model gives logits only, and what needs
        gradients raises TypeError.
    input_shape, classes, batch_size
        As in `GradientSource`.

    Raises
    ------
    TypeError
        `logits` or `input_gradient` cannot be called.

    Examples
    --------
    >>> import epsball as eb, numpy as np
    >>> W, b = np.ones((3, 4), np.float32), np.zeros(3, np.float32)
    >>> model = eb.CallableModel(logits=lambda x: x @ W.T + b, input_gradient=lambda x, dlogits: dlogits @ W)
    >>> x_adv = eb.pgd(model, np.full((2, 4), 0.5, np.float32), np.array([0, 2]), eps=0.1)
    """

    def __init__(
        self,
        logits: Callable[[Floats], Any],
        input_gradient: Callable[[Floats, Floats], Any] | None = None,
        input_shape: Sequence[int] | None = None,
        classes: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(input_shape, classes, batch_size)
        for name, function in (("logits", logits), ("input_gradient", input_gradient)):
            if not callable(function) and not (name == "input_gradient" and function is None):
                raise TypeError(f"{name}: wanted a function, got {function!r}")
        self._logits, self._gradient = logits, input_gradient

    def __repr__(self) -> str:
        return f"CallableModel({self._logits!r}, {self._gradient!r})"

    def logits(self, x: Floats) -> Any:
        """Return what the function `logits` gives."""
        return self._logits(x)

    def vjp(self, x: Floats) -> tuple[Any, Pull]:
        """Return the logits of x, and the function `input_gradient` at x."""
        gradient = self._gradient
        if gradient is None:
            raise TypeError("model: this needs gradients, and the CallableModel was given no input_gradient")
        return self._logits(x.copy()), lambda dlogits: gradient(x.copy(), dlogits)
