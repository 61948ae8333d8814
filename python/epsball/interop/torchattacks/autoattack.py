"""torchattacks' AutoAttack and its members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from epsball import attacks
from epsball.arguments import flag, one_of, whole
from epsball.interop.torchattacks.base import LOSSES, Seeded, check_only, draw_seed


@dataclass(eq=False, repr=False)
class APGD(Seeded):
    """Auto-PGD (see `epsball.attacks.APGD`); `rho` has one value only."""

    model: Any
    norm: str = "Linf"
    eps: float = 8 / 255
    steps: int = 10
    n_restarts: int = 1
    seed: int | None = 0
    loss: str = "ce"
    eot_iter: int = 1
    rho: float = 0.75
    verbose: bool = False

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.APGD`."""
        check_only(rho=(self.rho, 0.75))
        loss = LOSSES[one_of("loss", self.loss, LOSSES)]
        return attacks.APGD(
            self.eps,
            steps=self.steps,
            restarts=self.n_restarts,
            loss=loss,
            model_draws=self._draws(whole("eot_iter", self.eot_iter, 1)),
            **self._common(seed),
        )


@dataclass(eq=False, repr=False)
class APGDT(Seeded):
    """Auto-PGD towards every other class with the targeted ratio; `rho` has one value only."""

    model: Any
    norm: str = "Linf"
    eps: float = 8 / 255
    steps: int = 10
    n_restarts: int = 1
    seed: int | None = 0
    eot_iter: int = 1
    rho: float = 0.75
    verbose: bool = False
    n_classes: int = 10

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.APGD` with targets."""
        check_only(rho=(self.rho, 0.75))
        return attacks.APGD(
            self.eps,
            steps=self.steps,
            restarts=self.n_restarts,
            targets=whole("n_classes", self.n_classes, 2) - 1,
            loss="dlr",
            model_draws=self._draws(whole("eot_iter", self.eot_iter, 1)),
            **self._common(seed),
        )


@dataclass(eq=False, repr=False)
class Square(Seeded):
    """Random search by squares (see `epsball.attacks.Square`); `n_restarts` other than 1 is an error."""

    model: Any
    norm: str = "Linf"
    eps: float = 8 / 255
    n_queries: int = 5000
    n_restarts: int = 1
    p_init: float = 0.8
    loss: str = "margin"
    resc_schedule: bool = True
    seed: int | None = 0
    verbose: bool = False

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.Square`."""
        if self.n_restarts != 1:
            raise ValueError(f"n_restarts: wanted 1, as more queries do more, got {self.n_restarts}")
        return attacks.Square(
            self.eps,
            queries=self.n_queries,
            p_init=self.p_init,
            rescale=self.resc_schedule,
            targeted=self.targeted,
            loss=LOSSES[one_of("loss", self.loss, ("margin", "ce"))],
            **self._common(seed),
        )


@dataclass(eq=False, repr=False)
class FAB(Seeded):
    """The fast adaptive boundary attack (see `epsball.attacks.FAB`); what lies beyond eps comes back as it was.

    With `multi_targeted` all other classes are aimed at, one after another. There is no targeted mode.
    """

    model: Any
    norm: str = "Linf"
    eps: float | None = 8 / 255
    steps: int = 10
    n_restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    verbose: bool = False
    seed: int | None = 0
    multi_targeted: bool = False
    n_classes: int = 10

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.FAB`."""
        targets = whole("n_classes", self.n_classes, 2) - 1 if flag("multi_targeted", self.multi_targeted) else 0
        options: dict[str, Any] = {"steps": self.steps, "restarts": self.n_restarts, "radius": self.eps}
        options |= {"targets": targets, "alpha": self.alpha_max, "eta": self.eta, "beta": self.beta}
        return attacks.FAB(**options, **self._common(seed))

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Attack images in [0, 1]."""
        eps = {"Linf": 0.3, "L2": 1.0, "L1": 5.0}[self.norm] if self.eps is None else self.eps
        run = self.translated(draw_seed).run(self._followed.model(inputs), inputs, labels)
        near = torch.from_numpy(run.distance <= eps).reshape(-1, *(1,) * (inputs.ndim - 1))
        return torch.where(near, run.x_adv, inputs)


@dataclass(eq=False, repr=False)
class AutoAttack(Seeded):
    """AutoAttack with its authors' counts (see `epsball.attacks.AutoAttack`); torchattacks has 10 steps per member.

    The number of classes is the model's.
    """

    model: Any
    norm: str = "Linf"
    eps: float = 8 / 255
    version: str = "standard"
    n_classes: int = 10
    seed: int | None = None
    verbose: bool = False

    supported_mode = ("default",)

    def translated(self, seed: Callable[[], int]) -> attacks.Attack:
        """Return `attacks.AutoAttack`."""
        return attacks.AutoAttack(self.eps, version=self.version, **self._common(seed))
