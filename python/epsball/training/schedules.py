"""Learning-rate schedules: a factor on the rate as a function of the (fractional) epoch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from epsball.arguments import BELOW_ONE, FLOAT32, number, settle, whole


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
