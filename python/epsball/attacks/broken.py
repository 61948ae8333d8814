"""Models whose logits are not finite for some rows: these are reported, and the others are attacked all the same."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from epsball._native import NotFinite
from epsball.arrays import Array, as_numpy

if TYPE_CHECKING:
    from epsball.attacks.base import Attack, AttackResult

Indices = npt.NDArray[np.int64]
REASON = "the model gave something that is not finite"


class BrokenRows(NotFinite):
    """A model gave logits or derivatives that are not finite for some rows; all other rows were attacked.

    Attributes
    ----------
    rows
        Indices of the rows that failed.
    result : AttackResult
        Every other row's result is what it would have been without them. Those that failed come back as they were,
        without success, and `reason` says why.
    """

    def __init__(self, message: str, rows: Indices, result: AttackResult) -> None:
        super().__init__(message)
        self.rows, self.result = rows, result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.rows, self.result)


def broken_rows(
    attack: Attack, error: NotFinite, model: Any, x: Array, y: Any, index: Any, trace: bool
) -> tuple[str, Indices, tuple[Any, ...]]:
    """Return what `BrokenRows` is told; the result as the fields of `AttackResult`.

    The batch is halved until the rows that fail are alone: no row's result depends on its neighbours.
    """
    ids = np.arange(len(x)) if index is None else np.asarray(index)
    labels = None if y is None else as_numpy("y", y)
    parts: list[tuple[Indices, tuple[Any, ...]]] = []
    failed: list[int] = []
    waiting = [np.arange(len(x))]
    while waiting:
        rows = waiting.pop()
        if len(rows) == 1:
            failed.append(int(rows[0]))
            continue
        for half in np.array_split(rows, 2):
            given = None if labels is None else labels[half]
            try:
                found = for_rows(attack, x, half)._attack(model, x[half], given, ids[half], judged=True, trace=trace)
                parts.append((half, found))
            except NotFinite:
                waiting.append(half)
    rows = np.sort(np.array(failed, np.int64))
    message = f"{error}; {len(rows)} of {len(x)} rows failed, the others are in .result"
    return message, rows, _together(parts, rows, x)


def for_rows(attack: Attack, x: Array, rows: Indices) -> Attack:
    """Return the attack for some rows of x: options that have a value per row keep theirs."""
    own: dict[str, Any] = {}
    for option in fields(attack):
        value = getattr(attack, option.name)
        numbers = option.name in ("eps", "step_size", "alpha") and np.ndim(value) == 1
        rows_of_inputs = option.name in ("mask", "start") and np.ndim(value) == x.ndim and len(value) == len(x)
        if numbers or rows_of_inputs:
            own[option.name] = np.asarray(value)[rows]
    return replace(attack, **own) if own else attack


def _together(parts: list[tuple[Indices, tuple[Any, ...]]], failed: Indices, x: Array) -> tuple[Any, ...]:
    """Return the fields of `AttackResult` for all rows."""
    n = len(x)
    whole: list[Any] = [x.copy(), np.zeros(n, bool), np.zeros(n), np.zeros(n, np.int64), np.full(n, np.nan, np.float32),
             np.zeros(n, bool)]  # fmt: skip
    reason = np.full(n, "", object)
    trace: npt.NDArray[np.float32] | None = None
    for rows, found in parts:
        for column, values in zip(whole, found, strict=False):
            column[rows] = values
        if len(found) > 6 and found[6] is not None:
            trace = np.full((n, found[6].shape[1]), np.nan, np.float32) if trace is None else trace
            trace[rows] = found[6]
        if len(found) > 7:
            reason[rows] = found[7]
    reason[failed] = REASON
    return *whole, trace, reason.astype(np.str_)
