"""torchattacks' AutoAttack and its members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from epsball import attacks
from epsball.arguments import flag, one_of, whole
from epsball.interop import autoattack
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
    """AutoAttack as torchattacks has it: members of 10 steps, where its authors have 100, and rescaled squares.

    Rows that nothing breaks come back as they were. Of `n_classes` no more count than the model has. With the authors'
    counts it is `epsball.interop.autoattack.AutoAttack`.
    """

    model: Any
    norm: str = "Linf"
    eps: float = 8 / 255
    version: str = "standard"
    n_classes: int = 10
    seed: int | None = None
    verbose: bool = False

    supported_mode = ("default",)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("version", self.version, autoattack.VERSIONS)

    def forward(self, inputs: Any, labels: Any) -> Any:
        """Attack images in [0, 1]."""
        model = self._followed.model(inputs)
        whole_suite = autoattack.AutoAttack(model, self.norm, self.eps, self.seed, version=self.version)
        for member in (whole_suite.apgd, whole_suite.apgd_targeted, whole_suite.fab):
            member.n_iter = 10
        whole_suite.apgd.n_restarts = 5 if self.version == "plus" else 1
        whole_suite.apgd.eot_iter = self._draws(20 if self.version == "rand" else 1)
        for aimed in (whole_suite.apgd_targeted, whole_suite.fab):
            aimed.n_target_classes = whole("n_classes", self.n_classes, 2) - 1
        whole_suite.square.rescale_schedule = True
        return whole_suite.run_standard_evaluation(inputs, labels)
