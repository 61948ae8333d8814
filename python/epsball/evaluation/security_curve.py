"""Accuracy under attack for growing budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import class_indices, count_rows, radii, require_untargeted
from epsball.arrays import as_numpy
from epsball.attacks.base import Attack, on_host
from epsball.evaluation.accuracy_interval import AccuracyInterval, accuracy_interval
from epsball.evaluation.state import Right, State, chunk_of, identity
from epsball.files import fingerprint_of_rows
from epsball.machine import info
from epsball.reports.files import plain
from epsball.reports.progress import Progress, check_progress, reporter
from epsball.reports.tables import Table, percent


@dataclass(frozen=True)
class SecurityCurve:
    """What `security_curve` found, budget by budget.

    Attributes
    ----------
    eps
        Budgets, rising.
    accuracy : ndarray, shape (budgets,)
        At most this much is robust: rows right on what the attack returned for this budget and for every smaller one,
        since what fools the model within a small ball is in the larger ones, too. It never rises.
    alone : ndarray, shape (budgets,)
        Accuracy on what the attack returned for this budget; where it rises, the attack was led astray.
    robust : ndarray of bool, shape (budgets, N)
        The rows that `accuracy` counts.
    """

    eps: tuple[float, ...]
    accuracy: npt.NDArray[np.float64]
    alone: npt.NDArray[np.float64]
    robust: npt.NDArray[np.bool_]

    def intervals(self, confidence: float = 0.95) -> list[AccuracyInterval]:
        """Return the interval of each budget's accuracy (see `accuracy_interval`)."""
        return [accuracy_interval(rows, confidence) for rows in self.robust]

    def table(self) -> Table:
        """Return the curve as it is shown."""
        lines = [
            (f"{eps:g}", f"at most {percent(accuracy)}", percent(alone))
            for eps, accuracy, alone in zip(self.eps, self.accuracy, self.alone, strict=True)
        ]
        return Table(("eps", "accuracy", "by this budget alone"), tuple(lines))

    def __str__(self) -> str:
        """Return a plain table."""
        return str(self.table())

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the rows, ready for JSON."""
        return {"eps": list(self.eps), "accuracy_at_most": self.accuracy.tolist(), "alone": self.alone.tolist()}


def security_curve(
    model: Any,
    x: Any,
    y: Any,
    attack: Attack,
    eps: Sequence[float],
    *,
    state: str | PathLike[str] | None = None,
    progress: bool | Progress = False,
) -> SecurityCurve:
    """Run an attack with several budgets.

    Parameters
    ----------
    model
        The model to attack.
    x, y
        (N, ...) inputs and (N,) true classes.
    attack
        An untargeted attack with a budget, whose own `eps` is replaced; run on 1,000 rows at a time. A step size of
        None scales with the budget.
    eps
        Budgets ≥ 0; 0 is the clean accuracy.
    state
        A file from which a run that was killed goes on, as in `evaluate`; the budgets may have grown since.
    progress
        True shows bars on stderr; a function is called with ("eps=…", thousands of rows done, of how many).

    Returns
    -------
    SecurityCurve
        With the budgets in rising order.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named; an attack without `eps`; a state that is damaged or of another run.
    """
    check_progress(progress)
    if not isinstance(attack, Attack) or not hasattr(attack, "eps"):
        raise TypeError(f"attack: wanted an attack with a budget such as epsball.attacks.PGD, got {attack!r}")
    require_untargeted(attack)
    attacks = {e: replace(attack, eps=e) for e in sorted(radii("eps", eps))}  # type: ignore[call-arg]
    x, y = on_host("x", x, model), on_host("y", y, model)
    rows = count_rows(x)
    labels = class_indices("y", y, rows)
    found = {f"eps={e}": Right(np.zeros(rows, bool)) for e in attacks}
    run: dict[str, Any] = {}
    if state is not None:
        run = {
            **identity(model),
            "data": fingerprint_of_rows(as_numpy("x", x), labels),
            "budgets": plain({name: each.to_dict() for name, each in zip(found, attacks.values(), strict=True)}),
            "table": info()["chosen"],
        }
    kept = State(state, "epsball-security-curve", run, {"budgets": found}, may_grow=("budgets",))
    with reporter(progress) as report:
        for (name, budget), chosen in zip(found.items(), attacks.values(), strict=True):
            for part in kept.parts(name, budget, rows, report, chunk_of(chosen, rows)):
                x_adv = chosen(model, x[part], labels[part], index=np.arange(part.start, part.stop))
                budget.right[part] = as_numpy("predictions", model.predict(x_adv)) == labels[part]
    alone = np.array([budget.right for budget in found.values()])
    robust = np.logical_and.accumulate(alone, axis=0)
    return SecurityCurve(tuple(attacks), robust.mean(axis=1), alone.mean(axis=1), robust)
