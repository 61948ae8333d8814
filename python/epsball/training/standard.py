"""Training on clean inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.attacks.base import Attack
from epsball.attacks.fgsm import FGSM
from epsball.training.method import Method, part


@dataclass(frozen=True)
class Standard(Method):
    """Minimise the loss on clean inputs."""

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        return {"parts": [part("clean", 1.0)]}

    def monitor(self) -> Attack:
        """Return the attack of the FGSM paper's MNIST rows: eps 0.25, no clipping."""
        return FGSM(eps=0.25, bounds=None)
