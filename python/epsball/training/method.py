"""What a training method tells `eb.fit`: the native settings of its loss, and the attack that watches it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from epsball.arguments import FLOAT32, number, pair
from epsball.arrays import Array
from epsball.attacks.base import Attack, Bounds
from epsball.files import fingerprint
from epsball.model import Sequential
from epsball.training.optimizers import Adam, Optimizer

# What the native trainer is told of a method (src/training/method.h), and what it is if a method does not say.
NATIVE: dict[str, Any] = {
    "temperature": 1.0, "partly_unlabelled": False, "paired_halves": False,
    "pair": "none", "pair_weight": 0.0, "coupling": 0.0, "ramps_pair_weight": False,
    "inner": "loop", "reference": "labels", "norm": "linf", "steps": 0, "start": "none",
    "eps": 0.0, "step_size": 0.0, "start_radius": 0.0, "lo": -math.inf, "hi": math.inf,
    "replays": 1, "finite_difference": 0.0, "sources": [],
}  # fmt: skip


@dataclass(frozen=True)
class Method(ABC):
    """Base of all training methods."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""

    unlabelled: ClassVar[bool] = False  # whether a label of -1 is none

    def check(self, model: Sequential, y: Any) -> None:
        """Raise unless the method can train this model on such labels."""
        return

    def targets(self, model: Sequential, x: Array, y: Array) -> Array:
        """Return what is trained on in place of the labels."""
        return y

    def optimizer(self) -> Optimizer:
        """Return the optimiser of a run that is given none."""
        return Adam()

    def identity(self) -> str:
        """Return what tells runs with other settings apart."""
        return repr(self)

    def budget(self, epoch: float, epochs: int) -> float:
        """Return the factor on the attack's eps and steps `epoch` epochs into a run of `epochs`."""
        return 1.0

    def collapsed(self, records: list[dict[str, Any]]) -> bool:
        """Return whether the last epoch of the history lost what the one before had, so that training must stop."""
        return False

    @abstractmethod
    def monitor(self) -> Attack:
        """Return the attack whose errors the history records unless `eb.fit` is given another."""


def part(source: str, weight: float, reported: float | None = None) -> dict[str, Any]:
    """Describe one part of a batch: where its rows come from, and the weight of their loss (as reported, if other)."""
    return {"source": source, "weight": weight, "reported": weight if reported is None else reported}


def mixed(clean_weight: float) -> list[dict[str, Any]]:
    """Describe a batch of clean rows, of this weight, and attacked ones; those of no weight are left out."""
    parts = [part("clean", clean_weight), part("attacked", 1.0 - clean_weight)]
    return [p for p in parts if p["weight"] > 0]


def noise(kind: str, size: float, bounds: Bounds) -> dict[str, Any]:
    """Return the settings of an attack that draws its start and takes no step: noise, clipped to the bounds."""
    lo, hi = box(bounds)
    linf = kind != "gaussian"  # which no ball holds
    return {"norm": "linf" if linf else "l2", "eps": size if linf else float(FLOAT32.max), "start_radius": size,
            "start": {"uniform": "ball", "gaussian": "normal", "signs": "signs"}[kind], "lo": lo, "hi": hi}  # fmt: skip


def class_indices(method: str, y: Any) -> None:
    """Refuse labels that are one value per class."""
    if np.ndim(y) != 1:
        raise ValueError(f"y: {method} trains on class indices of shape (N,), got shape {np.shape(y)}")


def digest(models: tuple[Sequential, ...]) -> str:
    """Return what tells the weights of models from others."""
    return fingerprint(*(value for model in models for value in model.parameters().values()))


def box(bounds: Bounds) -> tuple[float, float]:
    """Return training bounds as two numbers; None is the whole line."""
    if bounds is None:
        return -math.inf, math.inf
    lo, hi = (number("bounds", side, -math.inf, math.inf) for side in pair("bounds", bounds))
    if lo > hi:
        raise ValueError(f"bounds: wanted two numbers (lower, upper) or None, got {bounds!r}")
    return lo, hi


def ramp(share: float, epoch: float, epochs: int) -> float:
    """Return a budget that grows linearly from 0 to 1 over the first `share` of a run."""
    return min(epoch / (share * epochs), 1.0) if share > 0 else 1.0
