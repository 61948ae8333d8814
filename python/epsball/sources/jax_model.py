"""A JAX function as a gradient source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from epsball.arguments import flag
from epsball.arrays import Array
from epsball.sources.base import Floats, GradientSource, Pull, Shape


class JaxModel(GradientSource):
    """A function of parameters and inputs, as Flax, Haiku and Equinox have it.

    Compiled functions are compiled once for every number of rows. Rows leave an attack that stops early, so these
    numbers are rounded up to three significant bits (1000 to 1024, 100 to 112) by repeating the first row.

    Parameters
    ----------
    apply
        ``apply(params, x)`` returns the logits (rows, classes) of x (rows, *input_shape), a float32 JAX array.
    params
        Any pytree.
    input_shape, classes, batch_size
        As in `GradientSource`.
    jit
        Compile `apply` and its derivative; False for functions that cannot be traced with unknown values.

    Raises
    ------
    ImportError
        JAX is not installed.
    TypeError
        `apply` cannot be called.

    Examples
    --------
    >>> import epsball as eb
    >>> model = eb.JaxModel(net.apply, params, input_shape=(28, 28, 1))  # doctest: +SKIP
    >>> x_adv = eb.pgd(model, x, y, eps=0.1)  # doctest: +SKIP
    """

    def __init__(
        self,
        apply: Callable[[Any, Any], Any],
        params: Any,
        input_shape: Sequence[int] | None = None,
        classes: int | None = None,
        batch_size: int | None = None,
        jit: bool = True,
    ) -> None:
        import jax

        super().__init__(input_shape, classes, batch_size)
        if not callable(apply):
            raise TypeError(f"apply: wanted a function of (params, x), got {apply!r}")
        self.apply, self.params, self.jit = apply, params, flag("jit", jit)

        def vjp(params: Any, x: Any) -> Any:
            return jax.vjp(partial(apply, params), x)  # the pullback is a pytree: what it keeps, and a pure function

        def pull(pullback: Any, dlogits: Any) -> Any:
            return pullback(dlogits)[0]

        compiled: Any = jax.jit if self.jit else lambda function: function
        self._apply, self._vjp, self._pull = compiled(apply), compiled(vjp), compiled(pull)

    def __repr__(self) -> str:
        return f"JaxModel({self.apply!r})"

    def logits(self, x: Floats) -> Any:
        """Return what `apply` gives."""
        rounded = self._rounded(x)
        return _first(self._apply(self.params, rounded), len(x), len(rounded))

    def vjp(self, x: Floats) -> tuple[Any, Pull]:
        """Return the logits of x, and JAX's pullback to x."""
        import jax.numpy as jnp

        rows, rounded = len(x), self._rounded(x)
        z, pullback = self._vjp(self.params, rounded)

        def pull(dlogits: Floats) -> Any:
            upstream = np.zeros(z.shape, np.float32)
            upstream[:rows] = dlogits
            return _first(self._pull(pullback, jnp.asarray(upstream, z.dtype)), rows, len(rounded))

        return _first(z, rows, len(rounded)), pull

    def _ask_classes(self, x: Array, shape: Shape) -> int:
        """Return how many logits a row has, from shapes alone."""
        import jax

        if not self.jit:
            return super()._ask_classes(x, shape)
        z = jax.eval_shape(self.apply, self.params, jax.ShapeDtypeStruct((1, *shape), np.float32))
        if getattr(z, "ndim", 0) != 2 or z.shape[0] != 1 or z.shape[1] == 0:
            raise ValueError(f"JaxModel: wanted logits of shape (1, classes) for one row, got {z}")
        return int(z.shape[1])

    def _rounded(self, x: Floats) -> Any:
        """Return x on JAX's device, its first row repeated until the number of rows is round."""
        import jax.numpy as jnp

        more = round_rows(len(x)) - len(x) if self.jit else 0
        return jnp.asarray(np.concatenate([x, np.repeat(x[:1], more, axis=0)]) if more else x)


def round_rows(rows: int) -> int:
    """Return the next number with three significant bits: 8, 10, 12, 14, 16, 20, ..."""
    unit = 1 << max(rows.bit_length() - 3, 0)
    return -(-rows // unit) * unit


def _first(value: Any, rows: int, rounded: int) -> Any:
    """Return the rows that were asked for, as a NumPy array of a dtype it knows; what has other rows is left whole."""
    import jax.numpy as jnp

    if not isinstance(value, jnp.ndarray):
        raise TypeError(f"JaxModel: wanted logits as one array from apply, got {type(value).__name__}")
    a = np.asarray(value.astype(jnp.float32) if jnp.issubdtype(value.dtype, jnp.floating) else value)
    return a[:rows] if a.shape[:1] == (rounded,) else a
