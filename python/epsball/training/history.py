"""What a training run did, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from epsball.attacks.base import Attack


@dataclass
class History:
    """Records of the finished epochs.

    Attributes
    ----------
    attack
        The attack whose errors are recorded.
    epochs
        One dictionary per epoch: epoch (from 1), train_loss, train_clean_error, train_adversarial_error,
        test_clean_error, test_adversarial_error (None without validation data), seconds, sample_steps (gradients
        taken, of inputs and of weights), learning_rate (at the epoch's first batch). Errors are shares in [0, 1].
    """

    attack: Attack
    epochs: list[dict[str, Any]] = field(default_factory=list)

    def columns(self, name: str) -> list[Any]:
        """Return one entry of every epoch's record."""
        return [record[name] for record in self.epochs]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {"attack": self.attack.to_dict(), "epochs": [dict(record) for record in self.epochs]}
