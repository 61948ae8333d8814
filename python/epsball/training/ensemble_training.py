"""Ensemble adversarial training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball.arguments import number, settle
from epsball.model import Sequential
from epsball.training.inner_pgd import InnerPGD
from epsball.training.method import digest, mixed


@dataclass(frozen=True)
class EnsembleTraining(InnerPGD):
    """Train on adversarial examples of static models, and of this one, by turns (Tramèr et al. 2018, arXiv 1705.07204).

    Each batch draws one of `models` or the model in training, all equally likely, and attacks that; the loss is
    clean_weight · J(x, y) + (1 − clean_weight) · J(x_adv, y). The paper's attack is FGSM, hence a single step of eps.

    Parameters
    ----------
    models
        Trained epsball models of the same inputs and classes; they stay as they are.
    eps, steps, step_size, norm, random_start, bounds, ramp
        Of the attack, as in `PGDTraining`; step_size None is eps for one step.
    clean_weight
        Weight of the loss on the clean rows, in [0, 1).
    """

    steps: int = 1
    random_start: bool = False
    models: tuple[Sequential, ...] = ()
    clean_weight: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.models, tuple | list) or not self.models:
            raise ValueError(f"models: wanted one or more trained models, got {self.models!r}")
        for model in self.models:
            if not isinstance(model, Sequential):
                raise TypeError(f"models: wanted epsball models, got {type(model).__name__}")
        settle(self, models=tuple(self.models), clean_weight=number("clean_weight", self.clean_weight, 0, 0.999))
        if self.step_size is None and self.steps == 1:
            settle(self, step_size=self.eps)

    def check(self, model: Sequential, y: Any) -> None:
        """Refuse static models that do not fit the one in training, or are it."""
        for other in self.models:
            if other is model:
                raise ValueError("models: wanted other models than the one in training, which takes part anyway")
            if (other._native.features, other.classes) != (model._native.features, model.classes):
                raise ValueError(
                    f"models: wanted {model._native.features} features and {model.classes} classes like the model in "
                    f"training, got {other._native.features} and {other.classes}"
                )

    def identity(self) -> str:
        """Return what tells runs apart: the static models' weights count."""
        return f"{self!r} {digest(self.models)}"

    def settings(self) -> dict[str, Any]:
        """Return the native trainer's settings."""
        sources = [model._native for model in self.models]
        return {**self.inner(), "parts": mixed(self.clean_weight), "sources": sources}
