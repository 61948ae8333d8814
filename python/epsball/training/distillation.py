"""Defensive distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball.arguments import FLOAT32, number, settle
from epsball.arrays import Array
from epsball.attacks.base import Attack
from epsball.attacks.fgsm import FGSM
from epsball.model import Sequential
from epsball.training.method import Method, digest, part


@dataclass(frozen=True)
class Distillation(Method):
    """Minimise the cross-entropy of softmax(z / temperature), which is 1 again afterwards (Papernot et al. 2016).

    arXiv 1511.04508: first train a teacher with ``Distillation(temperature)`` on the labels, then the student with
    ``Distillation(temperature, teacher)`` on the teacher's probabilities at that temperature. Carlini and Wagner (2017,
    arXiv 1608.04644) broke it: gradients vanish, adversarial examples stay.

    Parameters
    ----------
    temperature
        What the logits are divided by; the paper's is up to 100.
    teacher
        A trained model whose probabilities replace the labels; None: the labels themselves.
    """

    temperature: float = 20.0
    teacher: Sequential | None = None

    def __post_init__(self) -> None:
        settle(self, temperature=number("temperature", self.temperature, 1e-3, float(FLOAT32.max)))
        if self.teacher is not None and not isinstance(self.teacher, Sequential):
            raise TypeError(f"teacher: wanted an epsball model or None, got {type(self.teacher).__name__}")

    def check(self, model: Sequential, y: Any) -> None:
        """Refuse a teacher that does not fit the model."""
        if self.teacher is None:
            return
        if self.teacher is model:
            raise ValueError("teacher: wanted another model than the one in training")
        if self.teacher.classes != model.classes:
            raise ValueError(f"teacher: wanted {model.classes} classes like the model, got {self.teacher.classes}")

    def targets(self, model: Sequential, x: Array, y: Array) -> Array:
        """Return the teacher's probabilities (N, K) at the temperature, or the labels."""
        if self.teacher is None:
            return y
        z = np.asarray(self.teacher(x), np.float64) / self.temperature
        if z.shape[1] == 1:
            return np.asarray(0.5 * (1 + np.tanh(0.5 * z)), np.float32)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(p / p.sum(axis=1, keepdims=True), np.float32)

    def identity(self) -> str:
        """Return what tells runs apart: the teacher's weights count."""
        return repr(self) if self.teacher is None else f"{self!r} {digest((self.teacher,))}"

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        return {"parts": [part("clean", 1.0)], "temperature": self.temperature}

    def monitor(self) -> Attack:
        """Return the attack of `Standard`."""
        return FGSM(eps=0.25, bounds=None)
