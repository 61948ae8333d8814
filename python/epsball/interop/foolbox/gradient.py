"""foolbox's gradient attacks in a ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from epsball import attacks as ours
from epsball.interop.foolbox.base import Attack, check_only, untargeted


class _Descent(Attack):
    """Gradient steps in a ball."""

    norm: ClassVar[str]
    rel_stepsize: float
    abs_stepsize: float | None
    steps: int
    random_start: bool

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.PGD`."""
        size = self.rel_stepsize * eps if self.abs_stepsize is None else self.abs_stepsize
        return ours.PGD(
            eps,
            norm=self.norm,
            steps=self.steps,
            step_size=size,
            random_start=self.random_start,
            seed=seed,
            **common,
        )


class _FastGradient(Attack):
    """One gradient step of the whole budget."""

    norm: ClassVar[str]
    random_start: bool

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.FGSM`, or `attacks.PGD` of one step with a random start."""
        if not self.random_start:
            return ours.FGSM(eps, norm=self.norm, **common)
        return ours.PGD(eps, norm=self.norm, steps=1, step_size=eps, seed=seed, **common)


@dataclass(kw_only=True, repr=False, eq=False)
class LinfFastGradientAttack(_FastGradient):
    """See `epsball.attacks.FGSM`."""

    random_start: bool = False

    norm = "linf"


@dataclass(kw_only=True, repr=False, eq=False)
class L2FastGradientAttack(LinfFastGradientAttack):
    """See `epsball.attacks.FGSM`."""

    norm = "l2"


@dataclass(kw_only=True, repr=False, eq=False)
class L1FastGradientAttack(LinfFastGradientAttack):
    """See `epsball.attacks.FGSM`."""

    norm = "l1"


@dataclass(kw_only=True, repr=False, eq=False)
class LinfBasicIterativeAttack(_Descent):
    """See `epsball.attacks.PGD`."""

    rel_stepsize: float = 0.2
    abs_stepsize: float | None = None
    steps: int = 10
    random_start: bool = False

    norm = "linf"


@dataclass(kw_only=True, repr=False, eq=False)
class L2BasicIterativeAttack(LinfBasicIterativeAttack):
    """See `epsball.attacks.PGD`."""

    norm = "l2"


@dataclass(kw_only=True, repr=False, eq=False)
class L1BasicIterativeAttack(LinfBasicIterativeAttack):
    """See `epsball.attacks.PGD`."""

    norm = "l1"


@dataclass(kw_only=True, repr=False, eq=False)
class LinfProjectedGradientDescentAttack(_Descent):
    """See `epsball.attacks.PGD`."""

    rel_stepsize: float = 0.01 / 0.3
    abs_stepsize: float | None = None
    steps: int = 40
    random_start: bool = True

    norm = "linf"


@dataclass(kw_only=True, repr=False, eq=False)
class L2ProjectedGradientDescentAttack(_Descent):
    """See `epsball.attacks.PGD`."""

    rel_stepsize: float = 0.025
    abs_stepsize: float | None = None
    steps: int = 50
    random_start: bool = True

    norm = "l2"


@dataclass(kw_only=True, repr=False, eq=False)
class L1ProjectedGradientDescentAttack(L2ProjectedGradientDescentAttack):
    """See `epsball.attacks.PGD`."""

    norm = "l1"


@dataclass(kw_only=True, repr=False, eq=False)
class LinfMomentumIterativeFastGradientMethod(Attack):
    """See `epsball.attacks.MomentumPGD`; foolbox adds up gradients of any length, the paper and epsball g / ‖g‖."""

    momentum: float = 1.0
    rel_stepsize: float = 0.2
    abs_stepsize: float | None = None
    steps: int = 10
    random_start: bool = False

    norm = "linf"

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.MomentumPGD`."""
        size = self.rel_stepsize * eps if self.abs_stepsize is None else self.abs_stepsize
        options: dict[str, Any] = {"steps": self.steps, "step_size": size, "random_start": self.random_start}
        return ours.MomentumPGD(eps, norm=self.norm, decay=self.momentum, **options, seed=seed, **common)


@dataclass(kw_only=True, repr=False, eq=False)
class L2MomentumIterativeFastGradientMethod(LinfMomentumIterativeFastGradientMethod):
    """See `epsball.attacks.MomentumPGD`."""

    norm = "l2"


@dataclass(kw_only=True, repr=False, eq=False)
class L1MomentumIterativeFastGradientMethod(LinfMomentumIterativeFastGradientMethod):
    """See `epsball.attacks.MomentumPGD`."""

    norm = "l1"


@dataclass(kw_only=True, repr=False, eq=False)
class SparseL1DescentAttack(Attack):
    """See `epsball.attacks.SLIDE`."""

    quantile: float = 0.99
    rel_stepsize: float = 0.2
    abs_stepsize: float | None = None
    steps: int = 10
    random_start: bool = False

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.SLIDE`."""
        size = self.rel_stepsize * eps if self.abs_stepsize is None else self.abs_stepsize
        options: dict[str, Any] = {"steps": self.steps, "step_size": size, "random_start": self.random_start}
        return ours.SLIDE(eps, fraction=1 - self.quantile, **options, seed=seed, **common)


@dataclass(kw_only=True, repr=False, eq=False)
class LinfAdamBasicIterativeAttack(Attack):
    """See `epsball.attacks.AdamPGD`."""

    rel_stepsize: float = 0.2
    abs_stepsize: float | None = None
    steps: int = 10
    random_start: bool = False
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8

    norm = "linf"

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.AdamPGD`."""
        check_only(adam_epsilon=(self.adam_epsilon, 1e-8))
        size = self.rel_stepsize * eps if self.abs_stepsize is None else self.abs_stepsize
        options: dict[str, Any] = {"steps": self.steps, "step_size": size, "random_start": self.random_start}
        options |= {"beta1": self.adam_beta1, "beta2": self.adam_beta2}
        return ours.AdamPGD(eps, norm=self.norm, **options, seed=seed, **common)


@dataclass(kw_only=True, repr=False, eq=False)
class L2AdamBasicIterativeAttack(L2BasicIterativeAttack):
    """See `epsball.attacks.PGD`: foolbox 3.3.4 never asks Adam for the steps of this one, and neither does epsball."""

    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8


@dataclass(kw_only=True, repr=False, eq=False)
class LinfAdamProjectedGradientDescentAttack(LinfAdamBasicIterativeAttack):
    """See `epsball.attacks.AdamPGD`."""

    rel_stepsize: float = 0.025
    steps: int = 50
    random_start: bool = True


@dataclass(kw_only=True, repr=False, eq=False)
class L2AdamProjectedGradientDescentAttack(LinfAdamProjectedGradientDescentAttack):
    """See `epsball.attacks.AdamPGD`."""

    norm = "l2"


@dataclass(repr=False, eq=False)
class VirtualAdversarialAttack(Attack):
    """See `epsball.attacks.VirtualAdversarial`.

    `xi` counts as 1e-2 where it is less: a divergence over a shorter way than that drowns in float32's rounding.
    """

    steps: int
    xi: float = 1e-6

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.VirtualAdversarial`."""
        options = untargeted(common, type(self).__name__)
        return ours.VirtualAdversarial(eps, steps=self.steps, xi=max(self.xi, 1e-2), seed=seed, **options)


FGM = L2FastGradientAttack
FGSM = LinfFastGradientAttack
L1PGD = L1ProjectedGradientDescentAttack
L2PGD = L2ProjectedGradientDescentAttack
LinfPGD = LinfProjectedGradientDescentAttack
PGD = LinfPGD
L2AdamPGD = L2AdamProjectedGradientDescentAttack
LinfAdamPGD = LinfAdamProjectedGradientDescentAttack
AdamPGD = LinfAdamPGD
MIFGSM = LinfMomentumIterativeFastGradientMethod
