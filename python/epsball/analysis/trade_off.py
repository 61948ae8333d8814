"""Which model is best for which share of adversarial inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from epsball.arguments import number, pair
from epsball.reports.tables import Table, percent


@dataclass(frozen=True)
class TradeOff:
    """Lines of accuracy over the share p of adversarial inputs: (1 − p) · clean + p · adversarial.

    Attributes
    ----------
    clean, adversarial : dict of float
        Both ends of every model's line.
    envelope
        Who is best where: (from p, to p, model), one after another over [0, 1].
    crossings
        Where two models are equally good: {(one, other): p} for those whose lines cross within (0, 1).
    dominated
        Models that are nowhere best.
    """

    clean: dict[str, float]
    adversarial: dict[str, float]
    envelope: tuple[tuple[float, float, str], ...]
    crossings: dict[tuple[str, str], float]
    dominated: tuple[str, ...]

    def accuracy(self, model: str, p: Any) -> npt.NDArray[np.float64]:
        """Return a model's accuracy where a share p of the inputs, each in [0, 1], is adversarial."""
        shares = np.asarray(p, np.float64)
        if model not in self.clean:
            raise ValueError(f"model: wanted one of {', '.join(self.clean)}, got {model!r}")
        if not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError(f"p: wanted shares from 0 to 1, got {p!r}")
        return np.asarray((1 - shares) * self.clean[model] + shares * self.adversarial[model])

    def best(self, p: float) -> str:
        """Return the model that is best at a share p; of two at their crossing, the one with more clean accuracy."""
        share = number("p", p, 0, 1)
        return next(name for first, last, name in self.envelope if first <= share <= last)

    def table(self) -> Table:
        """Return the models as they are shown; adversarial accuracies are upper bounds."""
        where = {name: f"{first:.1%} to {last:.1%}" for first, last, name in self.envelope}
        lines = [
            (name, percent(self.clean[name]), f"at most {percent(self.adversarial[name])}", where.get(name, "nowhere"))
            for name in self.clean
        ]
        return Table(("model", "clean", "adversarial", "best for shares of adversarial inputs"), tuple(lines))

    def __str__(self) -> str:
        """Return a plain table."""
        return str(self.table())


def trade_off(models: Mapping[str, Any]) -> TradeOff:
    """Compare models by their accuracy when a share of the inputs is adversarial.

    Goodfellow (2018), arXiv 1806.04169. Lines of two models cross at p = (c₀ − c₁) / ((c₀ − c₁) + (a₁ − a₀)), c being
    clean and a adversarial accuracies.

    Parameters
    ----------
    models
        By name, what `eb.evaluate` reported, or a pair (clean accuracy, adversarial accuracy) in [0, 1].

    Returns
    -------
    TradeOff
        The upper envelope of the lines, their crossings, and the models that are never best.

    Raises
    ------
    ValueError, TypeError
        No models, or accuracies that are none.
    """
    if not isinstance(models, Mapping) or not models:
        raise ValueError(f"models: wanted at least one model by name, got {models!r}")
    ends = {str(name): _ends(name, value) for name, value in models.items()}
    crossings = {}
    for (one, (c0, a0)), (other, (c1, a1)) in combinations(ends.items(), 2):
        if (c0 - c1) * (a0 - a1) < 0:
            crossings[one, other] = (c0 - c1) / ((c0 - c1) + (a1 - a0))
    envelope = _envelope(ends)
    best = {name for _, _, name in envelope}
    return TradeOff(
        {name: c for name, (c, _) in ends.items()},
        {name: a for name, (_, a) in ends.items()},
        envelope,
        crossings,
        tuple(name for name in ends if name not in best),
    )


def _ends(name: Any, value: Any) -> tuple[float, float]:
    if hasattr(value, "clean_accuracy"):
        return float(value.clean_accuracy), float(value.robust_accuracy)
    clean, adversarial = pair(f"models[{name!r}]", value)
    return number(f"models[{name!r}]", clean, 0, 1), number(f"models[{name!r}]", adversarial, 0, 1)


def _envelope(ends: Mapping[str, tuple[float, float]]) -> tuple[tuple[float, float, str], ...]:
    """Walk the upper envelope from p = 0; of equals the first is taken."""
    at = max(ends, key=lambda name: ends[name])
    first = 0.0
    pieces: list[tuple[float, float, str]] = []
    while True:
        c0, a0 = ends[at]
        rising = {name: (c0 - c) / ((c0 - c) + (a - a0)) for name, (c, a) in ends.items() if a - c > a0 - c0 and a > a0}
        if not rising:
            return (*pieces, (first, 1.0, at))
        # The next to overtake; of several at the same share the steepest.
        after = min(rising, key=lambda name: (rising[name], ends[name][0] - ends[name][1]))
        if rising[after] > first:
            pieces.append((first, rising[after], at))
        first, at = rising[after], after
