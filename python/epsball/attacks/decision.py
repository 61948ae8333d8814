"""What attacks that learn nothing but labels share: the native call on models and label sources, and why rows fail."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball import _native
from epsball.arguments import FLOAT32, class_indices, whole
from epsball.arrays import Array, as_numpy, option_as_numpy
from epsball.attacks.base import AttackResult, Found, check_model, device_of
from epsball.attacks.loop import common_options
from epsball.classifier import Classifier
from epsball.sources.base import GradientSource, LabelSource, shape_of_rows

NO_LIMIT = sys.maxsize
SLAB = 1024  # rows of a label source that are attacked, and so asked about, together


class AttackStopped(RuntimeError):  # noqa: N818 - a public name, and what happened, as StopIteration
    """A label source raised while it was attacked; what had been found by then is not lost.

    The source's own exception is the cause (``__cause__``): `QueryBudgetExceeded` where its budget did not suffice.

    Attributes
    ----------
    result : AttackResult
        Every row's nearest point so far; `reason` says of rows without one that the source failed.
    """

    def __init__(self, message: str, result: AttackResult) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.result)


def check_budget(name: str, value: Any) -> int | None:
    """Return None for no limit, or the most labels that a row may cost."""
    return None if value is None else whole(name, value, 1, NO_LIMIT)


def check_start(name: str, value: Any) -> Array | None:
    """Return None, or a read-only copy of the points to begin at."""
    if value is None:
        return None
    own = np.array(option_as_numpy(name, value))
    if own.dtype.kind != "f":
        raise TypeError(f"{name}: wanted float32, float64 or float16, or None, got {own.dtype}")
    own.flags.writeable = False
    return own


def run_decision(
    attack: Any,
    native: Callable[..., Found],
    model: Any,
    x: Array,
    y: Any,
    index: Any,
    *,
    judged: bool,
    trace: bool,
    **own: Any,
) -> Found:
    """Run a native attack that learns labels only: `own` are the options that only it has."""
    if attack.start is None and not 0 < widest(attack.bounds) < float(FLOAT32.max):
        raise ValueError(
            f"start: random starting points need a box; wanted points, or finite bounds, got {attack.bounds}"
        )
    options = {
        **common_options(attack, x, index, judged=judged, trace=trace),
        "loss": "margin",
        "steps": attack.steps,
        "starts": attack.starts,
        "start_points": _starts(attack.start, x),
        **own,
    }
    if isinstance(model, LabelSource):
        return _on_labels(attack, native, model, x, y, options)
    check_model(model)
    return _on_model(attack, native, model, x, y, {**options, "partial": False}, judged=judged)


def _on_model(
    attack: Any,
    native: Callable[..., Found],
    model: Classifier,
    x: Array,
    y: Any,
    options: dict[str, Any],
    *,
    judged: bool,
) -> Found:
    """Attack a model as if it gave labels only; what its logits are is looked at when all is over."""
    engine = model._engine(x, False)
    labels = model.predict(x) if y is None else as_numpy("y", y, device=device_of(model))
    limit = _limit(attack, closing := _closing(x, model))
    found = native(engine, x, labels, {**options, "queries": limit - closing})
    if closing:
        _judge_again(attack, model, labels, x, found[:4])
    if judged:
        found[4][:] = model.loss(found[0], labels, loss="margin")
    return *found, _reasons(attack, x, found[1], found[3], limit - closing)


def _closing(x: Array, model: Any) -> int:
    """Return 1 where the result is asked about once more: in x's own dtype, or, where bits may differ, all together."""
    return int(x.dtype != np.float32 or isinstance(model, GradientSource))


def _limit(attack: Any, fixed: int) -> int:
    limit = NO_LIMIT if attack.budget is None else attack.budget
    if limit <= fixed:
        raise ValueError(f"budget: wanted at least {fixed + 1} per row for this x, y and model, got {limit}")
    return limit


def widest(bounds: Any) -> float:
    """Return the box's longest side, 0 where there is no box."""
    return 0.0 if bounds is None else float(np.max(np.asarray(bounds[1]) - np.asarray(bounds[0])))


def _starts(start: Array | None, x: Array) -> Array | None:
    if start is not None and start.shape != x.shape:
        raise ValueError(f"start: wanted one point for each row of x {x.shape}, got shape {start.shape}")
    return start


def _on_labels(
    attack: Any, native: Callable[..., Found], source: LabelSource, x: Array, y: Any, options: dict[str, Any]
) -> Found:
    """Attack a label source; its labels are one-hot logits to the engine, of the labels that judge and one for others.

    Every row the source is asked for counts, and a closing question where x is not float32, the engine's own dtype.
    """
    asked, closing = int(y is None), _closing(x, source)
    limit = _limit(attack, asked + closing)
    labels = class_indices("y", source.predict(x) if y is None else y, len(x))
    known, columns = np.unique(labels, return_inverse=True)
    shape = shape_of_rows(x, source.input_shape)
    engine = _native.Foreign(_one_hot(source, known), list(shape), len(known) + 1, SLAB)
    own = {"partial": True, "queries": limit - asked - closing}
    *found, failure = native(engine, x, columns.astype(np.int64), {**options, **own})
    x_adv, success, distance, queries, _, zero_gradient, trace = found
    queries = queries + asked
    if closing and failure is None:
        failure = _asked_again(attack, source, labels, x, (x_adv, success, distance, queries))
    loss = np.where(success, 1, -1).astype(np.float32) * (-1 if attack.targeted else 1)
    reason = _reasons(attack, x, success, queries, limit - closing, failed=failure is not None)
    result = (x_adv, success, distance, queries, loss, zero_gradient, trace, reason)
    if failure is not None:
        raise stopped(source, failure, AttackResult(*result)) from failure
    return result


def stopped(source: LabelSource, failure: Exception, result: AttackResult) -> AttackStopped:
    """Return what is raised where a source has raised midway."""
    what = f"{type(source).__name__} raised {type(failure).__name__}: {failure}"
    solved = f"{result.success.sum()} of {len(result.success)} rows are solved so far, see .result"
    return AttackStopped(f"{what}; {solved}", result)


def _asked_again(attack: Any, source: LabelSource, labels: Array, x: Array, found: Found) -> Exception | None:
    """Judge what was found once more; return what the source raised."""
    try:
        _judge_again(attack, source, labels, x, found)
    except Exception as error:
        return error
    return None


def _judge_again(attack: Any, model: Any, labels: Array, x: Array, found: Found) -> None:
    """Ask about the points as the caller gets them, and put x back where one is no success."""
    x_adv, success, distance, queries = found
    rows = np.flatnonzero(success) if isinstance(model, LabelSource) else np.arange(len(x))
    if len(rows) == 0:
        return
    given = model.predict(x_adv[rows])
    queries[rows] += 1
    lost = rows[success[rows] & ((given == labels[rows]) != attack.targeted)]
    success[lost], distance[lost] = False, 0
    x_adv[lost] = x[lost]


def _one_hot(source: LabelSource, known: npt.NDArray[Any]) -> Callable[[Array], tuple[Array, None]]:
    """Return the engine's view of a source: logits 1 at the label's column of `known`, or at the last."""

    def forward(x: Array) -> tuple[Array, None]:
        labels = source.predict(x)
        at = np.searchsorted(known, labels)
        at[at == len(known)] = 0
        column = np.where(known[at] == labels, at, len(known)) if len(known) else at
        logits = np.zeros((len(x), len(known) + 1), np.float32)
        logits[np.arange(len(x)), column] = 1
        return logits, None

    return forward


def _reasons(
    attack: Any,
    x: Array,
    success: npt.NDArray[np.bool_],
    queries: npt.NDArray[np.int64],
    limit: int,
    *,
    failed: bool = False,
) -> npt.NDArray[np.str_]:
    """Return why rows without an adversarial point have none."""
    wanted = "predicted as the target" if attack.targeted else "misclassified"
    if attack.start is None:
        none = f"no starting point: none of {attack.starts} random points of the box is {wanted}"
    else:
        none = f"no starting point: the one given is not {wanted}"
    if x.dtype != np.float32:
        none += f", or not once rounded to {x.dtype}"
    why = np.where(queries >= limit, f"no starting point within {limit} queries", none)
    if failed:
        why[:] = "the label source failed before there was an adversarial point"
    return np.where(success, "", why).astype(np.str_)
