"""Learning-rate schedules: a factor on the rate as a function of the (fractional) epoch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

from epsball.arguments import BELOW_ONE, FLOAT32, number, pair, settle, whole


@dataclass(frozen=True)
class Schedule(ABC):
    """Base of all schedules."""

    @abstractmethod
    def at(self, epoch: float, epochs: int) -> float:
        """Return the factor on the learning rate `epoch` epochs into a run of `epochs`."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The rate stays."""

    def at(self, epoch: float, epochs: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class Step(Schedule):
    """The rate is multiplied by `factor` after every `every` epochs.

    Parameters
    ----------
    every
        Epochs between two changes.
    factor
        Of each change.
    """

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        settle(self, every=whole("every", self.every, 1), factor=number("factor", self.factor, 0, float(FLOAT32.max)))

    def at(self, epoch: float, epochs: int) -> float:
        """Return factor ** (epochs done // every)."""
        return float(self.factor ** (int(epoch) // self.every))


@dataclass(frozen=True)
class Cosine(Schedule):
    """The rate falls along half a cosine from 1 to `final` (Loshchilov and Hutter 2017, arXiv 1608.03983).

    Parameters
    ----------
    final
        The factor at the end of the run.
    """

    final: float = 0.0

    def __post_init__(self) -> None:
        settle(self, final=number("final", self.final, 0, float(FLOAT32.max)))

    def at(self, epoch: float, epochs: int) -> float:
        """Return the cosine's value."""
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(epoch / epochs, 1.0)))


@dataclass(frozen=True)
class Cyclic(Schedule):
    """The rate rises linearly from 0 to 1, then falls to 0 (Wong et al. 2020, arXiv 2001.03994).

    Parameters
    ----------
    peak
        Where in the run it is highest, as a share in [0, 1).
    """

    peak: float = 0.4

    def __post_init__(self) -> None:
        settle(self, peak=number("peak", self.peak, 0, BELOW_ONE))

    def at(self, epoch: float, epochs: int) -> float:
        """Return the triangle's value."""
        at = min(epoch / epochs, 1.0)
        return at / self.peak if at < self.peak else (1 - at) / (1 - self.peak)


@dataclass(frozen=True)
class Piecewise(Schedule):
    """The rate is interpolated linearly between points.

    Parameters
    ----------
    points
        Pairs (share of the run, factor), the shares in [0, 1] and growing; before the first and after the last point
        the rate stays.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not isinstance(self.points, tuple | list) or not self.points:
            raise ValueError(f"points: wanted pairs (share of the run, factor), got {self.points!r}")
        pairs = [pair("points", point) for point in self.points]
        points = tuple((number("points", a, 0, 1), number("points", f, 0, float(FLOAT32.max))) for a, f in pairs)
        if any(a >= b for (a, _), (b, _) in pairwise(points)):
            raise ValueError(f"points: wanted shares that grow, got {self.points!r}")
        settle(self, points=points)

    def at(self, epoch: float, epochs: int) -> float:
        """Return the factor between the points."""
        at = epoch / epochs
        if at < self.points[0][0]:
            return self.points[0][1]
        for (a, low), (b, high) in pairwise(self.points):
            if at < b:
                return low + (high - low) * (at - a) / (b - a)
        return self.points[-1][1]


@dataclass(frozen=True)
class WarmUp(Schedule):
    """The rate of another schedule, which at first is also multiplied by a factor that rises linearly from 0 to 1.

    Parameters
    ----------
    epochs
        How long the factor rises (Goyal et al. 2017, arXiv 1706.02677).
    then
        The other schedule, which runs from the start; None: `Constant`.
    """

    epochs: float = 1.0
    then: Schedule | None = None

    def __post_init__(self) -> None:
        settle(self, epochs=number("epochs", self.epochs, float(FLOAT32.tiny), float(FLOAT32.max)))
        if self.then is not None and not isinstance(self.then, Schedule):
            raise TypeError(f"then: wanted a schedule of epsball.training or None, got {self.then!r}")

    def at(self, epoch: float, epochs: int) -> float:
        """Return the product."""
        return min(epoch / self.epochs, 1.0) * (self.then or Constant()).at(epoch, epochs)
