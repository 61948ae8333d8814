"""foolbox's attacks that look for the nearest adversarial point with gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball import attacks as ours
from epsball.arguments import one_of
from epsball.interop.foolbox.base import MinimizationAttack, check_only, untargeted


@dataclass(repr=False, eq=False)
class L2CarliniWagnerAttack(MinimizationAttack):
    """See `epsball.attacks.CarliniWagner`."""

    binary_search_steps: int = 9
    steps: int = 10000
    stepsize: float = 0.01
    confidence: float = 0
    initial_const: float = 1e-3
    abort_early: bool = True

    norm = "l2"

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.CarliniWagner`."""
        return ours.CarliniWagner(
            self.steps, self.binary_search_steps, self.stepsize, self.initial_const, self.confidence,
            self.abort_early, **common,
        )  # fmt: skip


@dataclass(repr=False, eq=False)
class EADAttack(MinimizationAttack):
    """See `epsball.attacks.EAD`; the rule "EN" chooses by the L2 distance, which is nearly all of the elastic net's."""

    binary_search_steps: int = 9
    steps: int = 10000
    initial_stepsize: float = 0.01
    confidence: float = 0.0
    initial_const: float = 1e-3
    regularization: float = 1e-2
    decision_rule: str = "EN"
    abort_early: bool = True

    norm = "l1"

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.EAD`."""
        norm = "l1" if one_of("decision_rule", self.decision_rule, ("EN", "L1")) == "L1" else "l2"
        return ours.EAD(
            norm, self.regularization, self.steps, self.binary_search_steps, self.initial_stepsize,
            self.initial_const, self.confidence, self.abort_early, **common,
        )  # fmt: skip


@dataclass(kw_only=True, repr=False, eq=False)
class L2DeepFoolAttack(MinimizationAttack):
    """See `epsball.attacks.DeepFool`; `loss` has one value only."""

    steps: int = 50
    candidates: int | None = 10
    overshoot: float = 0.02
    loss: str = "logits"

    norm = "l2"

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.DeepFool`."""
        check_only(loss=(self.loss, "logits"))
        return ours.DeepFool(
            self.norm, self.steps, self.overshoot, self.candidates, **untargeted(common, type(self).__name__)
        )


@dataclass(kw_only=True, repr=False, eq=False)
class LinfDeepFoolAttack(L2DeepFoolAttack):
    """See `epsball.attacks.DeepFool`."""

    norm = "linf"


@dataclass(repr=False, eq=False)
class NewtonFoolAttack(MinimizationAttack):
    """See `epsball.attacks.NewtonFool`; foolbox has the squares of the paper's lengths, and so other steps."""

    steps: int = 100
    stepsize: float = 0.01

    norm = "l2"

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.NewtonFool`."""
        return ours.NewtonFool(self.steps, self.stepsize, **untargeted(common, type(self).__name__))


@dataclass(kw_only=True, repr=False, eq=False)
class DDNAttack(MinimizationAttack):
    """See `epsball.attacks.DDN`."""

    init_epsilon: float = 1.0
    steps: int = 100
    gamma: float = 0.05

    norm = "l2"

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.DDN`."""
        return ours.DDN(self.steps, self.gamma, self.init_epsilon, **common)


@dataclass(kw_only=True, repr=False, eq=False)
class L2FMNAttack(MinimizationAttack):
    """See `epsball.attacks.FMN`, which begins at x: no `init_attack`, and `binary_search_steps` changes nothing."""

    steps: int = 100
    max_stepsize: float = 1.0
    min_stepsize: float | None = None
    gamma: float = 0.05
    init_attack: Any = None
    binary_search_steps: int = 10

    norm = "l2"

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.FMN`."""
        least = self.max_stepsize / 100
        check_only(init_attack=(self.init_attack, None), min_stepsize=(self.min_stepsize or least, least))
        return ours.FMN(self.norm, self.steps, self.max_stepsize, self.gamma, **common)


@dataclass(kw_only=True, repr=False, eq=False)
class LInfFMNAttack(L2FMNAttack):
    """See `epsball.attacks.FMN`."""

    norm = "linf"


@dataclass(kw_only=True, repr=False, eq=False)
class L1FMNAttack(L2FMNAttack):
    """See `epsball.attacks.FMN`."""

    norm = "l1"


@dataclass(kw_only=True, repr=False, eq=False)
class L0FMNAttack(L2FMNAttack):
    """See `epsball.attacks.FMN`."""

    norm = "l0"
