"""ART's attacks that find one perturbation for all inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from epsball import attacks
from epsball.arguments import number, one_of, whole
from epsball.arrays import Array
from epsball.interop.art.arguments import check_only, draw_seed, norm_of, own_or_given
from epsball.interop.art.base import EvasionAttack

ATTACKERS = ("carlini", "carlini_inf", "deepfool", "ead", "fgsm", "bim", "pgd", "newtonfool", "jsma", "vat", "simba")


@dataclass(eq=False, repr=False)
class TargetedUniversalPerturbation(EvasionAttack):
    """One perturbation that sends inputs to the classes y (see `attacks.Universal`).

    It goes along the mean gradient of all rows in `max_iter` passes, whatever the `attacker`, whose name is checked and
    which ART runs on one row after another; `attacker_params` is None. The best perturbation met counts; it has
    `converged` where it fools a share of at least ``1 - delta``.
    """

    classifier: Any
    attacker: str = "fgsm"
    attacker_params: Any = None
    delta: float = 0.2
    max_iter: int = 20
    eps: float = 10.0
    norm: Any = np.inf

    targeted = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fooling_rate: float | None = None
        self.converged: bool | None = None
        self.noise: Any = None

    def translated(self, eps: Any, common: dict[str, Any]) -> attacks.Attack:
        """Return `attacks.Universal`."""
        return attacks.Universal(eps, norm_of(self.norm), epochs=self.max_iter, seed=draw_seed(), **common)

    def _found(self, model: Any, x: Array, y: Any, common: dict[str, Any]) -> Array:
        if self.targeted and y is None:
            raise ValueError("y: a targeted attack needs the target labels, got None")
        run = self.translated(float(self.eps), common).run(model, x, own_or_given(model, x, y))
        self.fooling_rate, self.noise = float(run.success.mean()), np.asarray(run.perturbation)[None]
        self.converged = self.fooling_rate >= 1 - self.delta
        found: Array = run.x_adv
        return found

    def _check(self) -> None:
        super()._check()
        one_of("attacker", self.attacker, ATTACKERS)
        check_only(attacker_params=(self.attacker_params, None))
        number("delta", self.delta, 0.0, 1.0)
        whole("max_iter", self.max_iter, 1)


@dataclass(eq=False, repr=False)
class UniversalPerturbation(TargetedUniversalPerturbation):
    """One perturbation that fools a model on most inputs; see `TargetedUniversalPerturbation`."""

    attacker: str = "deepfool"
    batch_size: int = 32
    verbose: bool = True

    targeted = False
