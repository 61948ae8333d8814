"""Optimisers; weight decay is added to the gradient, as in torch, but for AdamW."""

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
    clip_norm
        The gradient of all parameters together is scaled down to this L2 norm (Pascanu et al. 2013, arXiv 1211.5063);
        None: it may be any.
    max_norm
        After an update, the weights into a unit (a row of a `weight` parameter) are scaled down to this L2 norm
        (Srebro and Shraibman 2005; Goodfellow et al. 2013, arXiv 1302.4389); None: they may be any.
    average
        Decay of an exponential moving average of the weights, in [0, 1), at most (1 + t) / (10 + t) in update t (Polyak
        and Juditsky 1992; Izmailov et al. 2018, arXiv 1803.05407). The history is measured with the average, and the
        run ends with it; None: with the last weights.
    """

    lr: float
    weight_decay: float
    l1: float
    schedule: Schedule | None
    clip_norm: float | None
    max_norm: float | None
    average: float | None

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "l1"):
            settle(self, **{name: number(name, getattr(self, name), 0, float(FLOAT32.max))})
        least = float(FLOAT32.tiny)
        for name in ("clip_norm", "max_norm"):
            if getattr(self, name) is not None:
                settle(self, **{name: number(name, getattr(self, name), least, float(FLOAT32.max))})
        if self.average is not None:
            settle(self, average=number("average", self.average, least, BELOW_ONE))
        if self.schedule is not None and not isinstance(self.schedule, Schedule):
            raise TypeError(f"schedule: wanted a schedule of epsball.training or None, got {self.schedule!r}")

    def rate(self, epoch: float, epochs: int) -> float:
        """Return the learning rate `epoch` epochs into a run of `epochs`."""
        return self.lr * (self.schedule or Constant()).at(epoch, epochs)

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        neutral = {"momentum": 0.0, "nesterov": False, "beta1": 0.0, "beta2": 0.0, "epsilon": 0.0}
        given = {"clip_norm": self.clip_norm, "max_norm": self.max_norm, "average": self.average}
        return {**neutral, "l2": self.weight_decay, "l1": self.l1, "decay": 0.0,
                **{name: value or 0.0 for name, value in given.items()}}  # fmt: skip


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: v ← momentum · v + g, p ← p − lr · v (Nesterov: p − lr · (g + momentum · v)).

    Parameters
    ----------
    lr, weight_decay, l1, schedule, clip_norm, max_norm, average
        As in all optimisers: the rate; L2 decay, which adds weight_decay · p to the gradient; L1 decay, which adds
        l1 · sign(p); how the rate changes (None: it stays); the longest gradient; the longest weight vector of a unit;
        share kept of the weights' moving average, which the run then ends with (None: none of these).
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
    clip_norm: float | None = None
    max_norm: float | None = None
    average: float | None = None

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
    lr, weight_decay, l1, schedule, clip_norm, max_norm, average
        As in all optimisers: the rate; L2 decay, which adds weight_decay · p to the gradient; L1 decay, which adds
        l1 · sign(p); how the rate changes (None: it stays); the longest gradient; the longest weight vector of a unit;
        share kept of the weights' moving average, which the run then ends with (None: none of these).
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
    clip_norm: float | None = None
    max_norm: float | None = None
    average: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        betas = tuple(number("betas", beta, 0, BELOW_ONE) for beta in pair("betas", self.betas))
        settle(self, betas=betas, eps=number("eps", self.eps, 0, float(FLOAT32.max)))

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        beta1, beta2 = self.betas
        return {**super().settings(), "rule": "adam", "beta1": beta1, "beta2": beta2, "epsilon": self.eps}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled decay: p shrinks by lr · weight_decay · p beside the step (Loshchilov and Hutter 2019).

    arXiv 1711.05101. The schedule multiplies both.

    Parameters
    ----------
    lr, betas, eps, l1, schedule, clip_norm, max_norm, average
        As in `Adam`.
    weight_decay
        The decoupled decay.
    """

    weight_decay: float = 0.01

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        return {**super().settings(), "l2": 0.0, "decay": self.weight_decay}
