"""torchattacks' attacks that look for the nearest adversarial point, or for few pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from epsball import attacks
from epsball.arguments import flag, number, pair, whole
from epsball.interop.torchattacks.base import Attack, check_only, draw_seed


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


@dataclass(eq=False, repr=False)
class SparseFool(Attack):
    """Few pixels, to the boundary that DeepFool finds (see `epsball.attacks.SparseFool`)."""

    model: Any
    steps: int = 10
    lam: float = 3
    overshoot: float = 0.02

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.SparseFool`."""
        return attacks.SparseFool(self.steps, self.lam, self.overshoot)


@dataclass(eq=False, repr=False)
class OnePixel(Attack):
    """A few pixels, found by differential evolution (see `epsball.attacks.OnePixel`); `inf_batch` changes nothing."""

    model: Any
    pixels: int = 1
    steps: int = 10
    popsize: int = 10
    inf_batch: int = 128

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Attack images in [0, 1]; there are as many candidates as torchattacks has for images of these channels."""
        coordinates = whole("pixels", self.pixels, 1) * (2 + inputs.shape[1])
        population = max(whole("popsize", self.popsize, 1) // coordinates, 1) * coordinates
        options: dict[str, Any] = {"population": max(population, 5), "targeted": self.targeted, "seed": draw_seed()}
        attack = attacks.OnePixel(self.pixels, self.steps, **options)
        return attack(self._followed.model(inputs), inputs, self._goals(inputs, labels))


@dataclass(eq=False, repr=False)
class Pixle(Attack):
    """Pixels that change places (see `epsball.attacks.Pixle`), which "random" ones do; there is no other mapping.

    With `update_each_iteration` every try that raises the loss is where the next one starts.
    """

    model: Any
    x_dimensions: Any = (2, 10)
    y_dimensions: Any = (2, 10)
    pixel_mapping: str = "random"
    restarts: int = 20
    max_iterations: int = 10
    update_each_iteration: bool = False

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Attack images in [0, 1]."""
        check_only(pixel_mapping=(self.pixel_mapping, "random"))
        each = flag("update_each_iteration", self.update_each_iteration)
        rounds = (self.max_iterations, 1) if each else (self.restarts, self.max_iterations)
        sizes = (_pixels("x_dimensions", self.x_dimensions, inputs.shape[3]),
                 _pixels("y_dimensions", self.y_dimensions, inputs.shape[2]))  # fmt: skip
        attack = attacks.Pixle(*rounds, *sizes, targeted=self.targeted, seed=draw_seed())
        return attack(self._followed.model(inputs), inputs, self._goals(inputs, labels))


def _pixels(name: str, dimensions: Any, size: int) -> tuple[int, int]:
    """Return (least, most) pixels: one number stands for both, a float for a share of the image."""
    both = (dimensions, dimensions) if isinstance(dimensions, int | float) else pair(name, dimensions)
    least, most = (round(size * number(name, d, 0, 1)) if isinstance(d, float) else whole(name, d, 1) for d in both)
    return max(least, 1), max(most, 1)
