"""torchattacks' attacks that look for the nearest adversarial point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from epsball import attacks
from epsball.interop.torchattacks.base import Attack


@dataclass(eq=False, repr=False)
class CW(Attack):
    """Carlini and Wagner's L2 attack with one constant (see `epsball.attacks.CarliniWagner`).

    A row whose objective no longer falls stops by itself, where torchattacks stops the batch.
    """

    model: Any
    c: float = 1
    kappa: float = 0
    steps: int = 50
    lr: float = 0.01

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.CarliniWagner` of one search."""
        options: dict[str, Any] = {"initial_constant": self.c, "confidence": self.kappa, "step_size": self.lr}
        return attacks.CarliniWagner(self.steps, 1, **options, targeted=self.targeted)


@dataclass(eq=False, repr=False)
class DeepFool(Attack):
    """Steps to the nearest boundary, all classes being looked at (see `epsball.attacks.DeepFool`)."""

    model: Any
    steps: int = 50
    overshoot: float = 0.02

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.DeepFool`."""
        return attacks.DeepFool(steps=self.steps, overshoot=self.overshoot, candidates=None)


@dataclass(eq=False, repr=False)
class EADL1(Attack):
    """The elastic-net attack, the nearest point in L1 counting (see `epsball.attacks.EAD`)."""

    model: Any
    kappa: float = 0
    lr: float = 0.01
    binary_search_steps: int = 9
    max_iterations: int = 100
    abort_early: bool = True
    initial_const: float = 0.001
    beta: float = 0.001

    chosen_by = "l1"

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.EAD`."""
        return attacks.EAD(
            self.chosen_by, self.beta, self.max_iterations, self.binary_search_steps, self.lr, self.initial_const,
            self.kappa, self.abort_early, self.targeted,
        )  # fmt: skip


@dataclass(eq=False, repr=False)
class EADEN(EADL1):
    """The elastic-net attack; the nearest point in L2 counts, which is nearly all of the elastic net's distance."""

    chosen_by = "l2"


@dataclass(eq=False, repr=False)
class JSMA(Attack):
    """The saliency map attack (see `epsball.attacks.JSMA`); a negative theta lowers pixels.

    As in torchattacks the default mode aims at the class (label + 1) % 10.
    """

    model: Any
    theta: float = 1.0
    gamma: float = 0.1

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.JSMA`."""
        return attacks.JSMA(abs(self.theta), self.gamma, increase=self.theta > 0, targeted=True)

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Attack images in [0, 1]."""
        return super().forward(inputs, labels if self.targeted else (labels + 1) % 10)
