"""What torchattacks has beside single attacks: none at all, noise, and several attacks in turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


class MultiAttack(Attack):
    """Attacks one after another on the rows that are still right; each row returns its first success.

    Parameters
    ----------
    attacks
        At least two attacks of this module on one model.
    verbose
        False; epsball prints nothing.
    """

    supported_mode = ("default",)

    def __init__(self, attacks: Sequence[Any], verbose: bool = False) -> None:
        if len(attacks) < 2:
            raise ValueError(f"attacks: wanted at least two, got {len(attacks)}")
        if len({id(attack.model) for attack in attacks}) != 1:
            raise ValueError("attacks: wanted attacks on one model, got several models")
        if flag("verbose", verbose):
            raise ValueError("verbose: wanted False, as epsball prints nothing, got True")
        self.attacks, self.verbose, self.model = list(attacks), verbose, attacks[0].model
        self._standing = [0] * (len(attacks) + 1)  # rows before the first attack and after each, since `save` began
        super().__post_init__()

    def __repr__(self) -> str:
        return f"MultiAttack({self.attacks})"

    def set_normalization_used(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Say that inputs come normalised, to all attacks."""
        super().set_normalization_used(mean, std)
        for attack in self.attacks:
            attack.set_normalization_used(mean, std)

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Attack inputs as the attacks take them; images in [0, 1] where this attack knows how they are normalised."""
        found, left = inputs.clone(), torch.arange(len(inputs))
        self._standing[0] += len(inputs)
        for number, attack in enumerate(self.attacks, 1):
            if len(left) == 0:
                break
            run = attack if self.normalization_used is None else attack.forward
            x_adv = run(inputs[left], labels[left])
            given = self.normalization_used is None and attack.normalization_used is not None
            images = attack.inverse_normalize(x_adv) if given else x_adv
            wrong = attack._logits(images).argmax(1) != labels[left]
            found[left[wrong]] = x_adv[wrong]
            left = left[~wrong]
            self._standing[number] += len(left)
        return found

    def save(  # type: ignore[override] # as in torchattacks
        self,
        data_loader: Iterable[tuple[Any, Any]],
        save_path: Any = None,
        verbose: bool = True,
        return_verbose: bool = False,
        save_predictions: bool = False,
        save_clean_images: bool = False,
    ) -> tuple[float, list[float], float, float] | None:
        """Do as `Attack.save`; with `return_verbose` the second number is a list, the success after each attack."""
        self._standing = [0] * (len(self.attacks) + 1)
        told = super().save(data_loader, save_path, verbose, return_verbose, save_predictions, save_clean_images)
        if told is None:
            return None
        robust, length, elapsed = told
        return robust, [100 * (1 - left / self._standing[0]) for left in self._standing[1:]], length, elapsed
