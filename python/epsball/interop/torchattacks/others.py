"""What torchattacks has beside single attacks: none at all, noise, and several attacks in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from epsball.arguments import flag
from epsball.interop.torchattacks.base import Attack


@dataclass(eq=False, repr=False)
class VANILA(Attack):
    """No attack: a copy of the inputs."""

    model: Any

    supported_mode = ("default",)

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Return the inputs."""
        return inputs.clone()


@dataclass(eq=False, repr=False)
class GN(Attack):
    """Gaussian noise, clipped to [0, 1]; no ball bounds it, and no model is asked."""

    model: Any
    std: float = 0.1

    supported_mode = ("default",)

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Return the inputs with noise from torch's global generator."""
        return (inputs + self.std * torch.randn_like(inputs)).clamp(0, 1)


class MultiAttack:
    """Attacks one after another on the rows that are still right; each row returns its first success.

    Parameters
    ----------
    attacks
        At least two attacks of this module on one model.
    verbose
        False; epsball prints nothing.
    """

    def __init__(self, attacks: Sequence[Any], verbose: bool = False) -> None:
        if len(attacks) < 2:
            raise ValueError(f"attacks: wanted at least two, got {len(attacks)}")
        if len({id(attack.model) for attack in attacks}) != 1:
            raise ValueError("attacks: wanted attacks on one model, got several models")
        if flag("verbose", verbose):
            raise ValueError("verbose: wanted False, as epsball prints nothing, got True")
        self.attacks, self.verbose, self.model = list(attacks), verbose, attacks[0].model

    def __repr__(self) -> str:
        return f"MultiAttack({self.attacks})"

    def __call__(self, inputs: Any, labels: Any = None) -> Any:
        """Return the adversarial inputs."""
        found, left = inputs.detach().clone(), torch.arange(len(inputs))
        for attack in self.attacks:
            if len(left) == 0:
                break
            x_adv = attack(inputs[left], labels[left])
            wrong = attack._logits(x_adv).argmax(1) != labels[left]
            found[left[wrong]] = x_adv[wrong]
            left = left[~wrong]
        return found
