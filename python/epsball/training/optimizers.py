"""Optimisers; weight decay is added to the gradient, as in torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import BELOW_ONE, FLOAT32, flag, number, pair, settle
from epsball.training.schedules import Constant, Schedule


@dataclass(frozen=True)
class Optimizer:
    """Base of all optimisers.

    Parameters
    ----------
    lr
        Learning rate, which the schedule multiplies.
    weight_decay
        L2 decay: adds weight_decay · p to the gradient.
    l1
        L1 decay: adds l1 · sign(p) to the gradient.
    schedule
        How the rate changes; None: it stays.
    """

    lr: float
    weight_decay: float
    l1: float
    schedule: Schedule | None

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "l1"):
            settle(self, **{name: number(name, getattr(self, name), 0, float(FLOAT32.max))})
        if self.schedule is not None and not isinstance(self.schedule, Schedule):
            raise TypeError(f"schedule: wanted a schedule of epsball.training or None, got {self.schedule!r}")

    def rate(self, epoch: float, epochs: int) -> float:
        """Return the learning rate `epoch` epochs into a run of `epochs`."""
        return self.lr * (self.schedule or Constant()).at(epoch, epochs)

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        neutral = {"momentum": 0.0, "nesterov": False, "beta1": 0.0, "beta2": 0.0, "epsilon": 0.0}
        return {**neutral, "l2": self.weight_decay, "l1": self.l1}


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: v ← momentum · v + g, p ← p − lr · v (Nesterov: p − lr · (g + momentum · v)).

    Parameters
    ----------
    lr, weight_decay, l1, schedule
        As in all optimisers: the rate; L2 decay, which adds weight_decay · p to the gradient; L1 decay, which adds
        l1 · sign(p); how the rate changes (None: it stays).
    momentum
        Share of the velocity kept, in [0, 1].
    nesterov
        Look ahead by one step (Sutskever et al. 2013).
    """

    lr: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    l1: float = 0.0
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, momentum=number("momentum", self.momentum, 0, 1), nesterov=flag("nesterov", self.nesterov))

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        return {**super().settings(), "rule": "sgd", "momentum": self.momentum, "nesterov": self.nesterov}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with bias correction (Kingma and Ba 2015, arXiv 1412.6980).

    Parameters
    ----------
    lr, weight_decay, l1, schedule
        As in all optimisers: the rate; L2 decay, which adds weight_decay · p to the gradient; L1 decay, which adds
        l1 · sign(p); how the rate changes (None: it stays).
    betas
        Share kept of the mean gradient and of its mean square, in [0, 1).
    eps
        Added to the root in the denominator.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    l1: float = 0.0
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        betas = tuple(number("betas", beta, 0, BELOW_ONE) for beta in pair("betas", self.betas))
        settle(self, betas=betas, eps=number("eps", self.eps, 0, float(FLOAT32.max)))

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        beta1, beta2 = self.betas
        return {**super().settings(), "rule": "adam", "beta1": beta1, "beta2": beta2, "epsilon": self.eps}
