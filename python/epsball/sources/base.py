"""What gradient sources and label sources are to attacks: the two base classes, their checks and the query meter."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arguments import check_axes, whole
from epsball.arrays import Array, as_numpy, like
from epsball.classifier import Classifier

Floats: TypeAlias = npt.NDArray[np.float32]
Pull: TypeAlias = Callable[[Floats], Any]
Shape: TypeAlias = tuple[int, ...]


class GradientSource(Classifier):
    """A model outside the engine that gives logits and vector-Jacobian products.

    Attacks run in the engine; only the model is called, with all rows at once, on the calling thread. Losses and their
    derivatives are the engine's, so that every loss works with every source. What a call raises comes through
    unchanged.

    Rows that leave an attack with `early_stop` are not sent again, but for the closing pass of `run`: the last bits of
    a model's logits may depend on how many rows come together, and success is what `predict` says of all of them.

    A subclass says what `logits` and `vjp` are. Both are given a float32 array that is theirs to keep or to change, in
    the model's input shape, and may return anything `numpy.asarray` or torch's ``.numpy()`` makes an array of.

    Parameters
    ----------
    input_shape
        Shape of one input, to which rows are reshaped; None: whatever shape the caller's rows have.
    classes
        Logits per row; None: the model is asked once, with the first row of the first call.
    batch_size
        The most rows of one call of the model; None: all of the caller's.

    Attributes
    ----------
    input_shape, classes, batch_size
        As given; `classes` is None until the model has been asked.
    """

    def __init__(
        self, input_shape: Sequence[int] | None = None, classes: int | None = None, batch_size: int | None = None
    ) -> None:
        self.input_shape = input_shape_of(input_shape)
        self.classes = None if classes is None else whole("classes", classes, 1)
        self.batch_size = None if batch_size is None else whole("batch_size", batch_size, 1)

    @abstractmethod
    def logits(self, x: Floats) -> Any:
        """Return the logits (rows, classes) of x (rows, *input_shape)."""

    @abstractmethod
    def vjp(self, x: Floats) -> tuple[Any, Pull]:
        """Return the logits of x, and the function that pulls a gradient of them back to x.

        It is given dlogits (rows, classes) float32, any number of times, and returns the gradient of
        ``(dlogits * logits).sum()`` with respect to x, in x's shape.
        """

    def _engine(self, x: Array, gradients: bool) -> _native.Foreign:
        shape = shape_of_rows(x, self.input_shape)
        if self.classes is None:
            self.classes = self._ask_classes(x, shape)
        evaluate = self._pulled if gradients else self._plain
        return _native.Foreign(evaluate, list(shape), self.classes, self.batch_size or sys.maxsize)

    def _ask_classes(self, x: Array, shape: Shape) -> int:
        """Return how many logits the model gives for the first row."""
        if len(x) == 0:
            raise ValueError("x: wanted at least one row to ask the model for its number of classes; or pass classes=")
        row = np.array(x[:1], np.float32).reshape(1, *shape)
        given = as_numpy(f"{self._name}'s logits", self.logits(row))
        if given.ndim != 2 or len(given) != 1 or given.shape[1] == 0:
            raise ValueError(f"{self._name}: wanted logits of shape (1, classes) for one row, got shape {given.shape}")
        return int(given.shape[1])

    def _plain(self, x: Floats) -> tuple[Floats, None]:
        rows = len(x)
        return self._checked("logits", self.logits(x), (rows, self._count)), None

    def _pulled(self, x: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
        shape = x.shape
        logits, pull = self.vjp(x)
        checked = self._checked("logits", logits, (shape[0], self._count))
        return checked, lambda dlogits: self._checked("a gradient", pull(dlogits), shape)

    def _checked(self, what: str, value: Any, shape: Shape) -> Floats:
        """Return what the model gave as float32; errors name the source and the shape."""
        a = as_numpy(f"{self._name}'s {what}", value)
        if a.shape != shape:
            raise ValueError(f"{self._name}: wanted {what} of shape {shape}, got shape {a.shape}")
        if a.dtype.kind != "f":
            raise TypeError(f"{self._name}: wanted {what} as floating-point numbers, got {a.dtype} of shape {shape}")
        with np.errstate(over="ignore"):
            floats = np.ascontiguousarray(a, np.float32)
        if not np.isfinite(floats).all():
            at = np.argwhere(~np.isfinite(floats))[0]
            raise _native.NotFinite(
                f"{self._name}: wanted {what} of finite float32 numbers, got {a[tuple(at)]} in row {at[0]} of shape "
                f"{shape}"
            )
        return floats

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def _count(self) -> int:
        assert self.classes is not None  # _engine has asked
        return self.classes


class QueryBudgetExceeded(RuntimeError):  # noqa: N818 - a public name, and what happened, as StopIteration
    """A call that would ask a label source for more labels than its budget allows; the model was not called.

    Attributes
    ----------
    budget, spent, asked : int
        Labels the source may give, labels it has given, labels the call asked for.
    """

    def __init__(self, budget: int, spent: int, asked: int) -> None:
        super().__init__(f"query budget exceeded: budget {budget}, spent {spent}, asked for {asked} more")
        self.budget, self.spent, self.asked = budget, spent, asked

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.budget, self.spent, self.asked)


class LabelSource(ABC):
    """A model that gives labels and nothing else, with a meter: decision trees, nearest neighbours, a remote service.

    A subclass says what `labels` is. Every row of every call of `predict` counts as one query.

    Parameters
    ----------
    budget
        The most queries there may be; None: any number.
    classes
        Labels are 0 … classes − 1, which is checked; None: any integers from 0.
    input_shape
        Shape of one input, to which rows are reshaped; None: whatever shape the caller's rows have.

    Attributes
    ----------
    budget, classes, input_shape
        As given.

    Notes
    -----
    A copy, or what another process unpickles, starts at the queries counted so far and counts its own from there.
    """

    def __init__(
        self, budget: int | None = None, classes: int | None = None, input_shape: Sequence[int] | None = None
    ) -> None:
        self.budget = None if budget is None else whole("budget", budget, 0, sys.maxsize)
        self.classes = None if classes is None else whole("classes", classes, 1)
        self.input_shape = input_shape_of(input_shape)
        self._spent = 0
        self._meter = Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle is made of: all but the lock and a native handle, which are made again."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_meter", "_native")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._meter = Lock()

    @property
    def queries(self) -> int:
        """How many rows `predict` has been asked for."""
        return self._spent

    @abstractmethod
    def labels(self, x: Array) -> Any:
        """Return the labels (rows,) of x (rows, *input_shape), integers from 0.

        x has the dtype of the caller's array and is the callee's to keep or to change. What is returned may be
        anything `numpy.asarray` or torch's ``.numpy()`` makes an array of.
        """

    def predict(self, x: Any) -> Any:
        """Return the labels (N,) of x (N, ...), int64 and of x's kind, at the price of N queries.

        Raises
        ------
        QueryBudgetExceeded
            There are fewer queries left than x has rows; the model is not called, and nothing is counted.
        ValueError, TypeError
            A bad x; labels of another shape or dtype, or out of range, in a message that names the source.
        """
        a = as_numpy("x", x)
        shape = shape_of_rows(a, self.input_shape)
        rows = np.array(a, order="C").reshape(len(a), *shape)
        if not np.isfinite(rows).all():
            raise ValueError("x: wanted finite numbers")
        if len(rows) == 0:
            return like(np.zeros(0, np.int64), x)
        self._charge(len(rows))
        return like(self._checked(self.labels(rows), len(rows)), x)

    def _charge(self, rows: int) -> None:
        """Count the queries before they are made: a service that fails may have counted them as well."""
        with self._meter:
            if self.budget is not None and self._spent + rows > self.budget:
                raise QueryBudgetExceeded(self.budget, self._spent, rows)
            self._spent += rows

    def _checked(self, value: Any, rows: int) -> npt.NDArray[np.int64]:
        name = type(self).__name__
        a = as_numpy(f"{name}'s labels", value)
        if a.shape != (rows,):
            raise ValueError(f"{name}: wanted labels of shape ({rows},), got shape {a.shape}")
        if a.dtype.kind not in "iub":
            raise TypeError(f"{name}: wanted integer labels, got {a.dtype} of shape {a.shape}")
        if a.min() < 0 or (self.classes is not None and a.max() >= max(self.classes, 2)):
            most = "" if self.classes is None else f" to {max(self.classes, 2) - 1}"
            raise ValueError(f"{name}: wanted labels from 0{most}, got {a.min()} to {a.max()} in shape {a.shape}")
        return a.astype(np.int64)


def input_shape_of(value: Any) -> Shape | None:
    """Return the shape of one input as integers, or None for any."""
    if value is None:
        return None
    try:
        return tuple(whole("input_shape", n, 1) for n in value)
    except (TypeError, ValueError):
        raise ValueError(f"input_shape: wanted positive integers or None, got {value!r}") from None


def shape_of_rows(x: Array, input_shape: Shape | None) -> Shape:
    """Return the shape in which a row of x is handed to the model; x must be rows of floating-point numbers."""
    if x.dtype.kind != "f":
        raise TypeError(f"x: wanted float32, float64 or float16, got {x.dtype}")
    if x.ndim < 1:
        raise ValueError("x: wanted a batch of inputs, got a scalar")
    if input_shape is None:
        return x.shape[1:]
    if math.prod(x.shape[1:]) != math.prod(input_shape):
        raise ValueError(f"x: wanted rows of the model's input shape {input_shape}, got shape {x.shape}")
    check_axes(x.shape[1:], input_shape)
    return input_shape


def pulled_back(model: Classifier, x: Array, logits: Floats, dlogits: Array) -> Array:
    """Return the gradient of ``(dlogits * logits).sum()`` with respect to x, in x's shape and dtype.

    The squared error to z − s·d has the derivative 2·s·d; s, a power of two per row, makes s·d no smaller than z, so
    that the subtraction rounds d by no more than float32 does.
    """
    most = np.abs(dlogits).max(axis=1, keepdims=True).astype(np.float64)
    ratio = np.abs(logits).max(axis=1, keepdims=True) / np.where(most == 0, 1, most)
    scale = np.exp2(np.clip(np.ceil(np.log2(np.maximum(ratio, 1e-30))), -100, 100))
    target = (logits - scale * dlogits).astype(np.float32)
    gradient = as_numpy("gradient", model.input_gradient(x, target, loss="squared_error"))
    rows = (2 * scale).reshape(len(x), *(1,) * (x.ndim - 1))
    return np.ascontiguousarray(gradient / rows, x.dtype)
