"""foolbox's attacks on labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from epsball import attacks as ours
from epsball.arguments import one_of
from epsball.interop.foolbox.base import AnyAttack, MinimizationAttack, check_only, taken
from epsball.interop.foolbox.model import raw
from epsball.interop.foolbox.search import SaltAndPepperNoiseAttack, asked, blended

DIRECTIONS, BLENDS = 1000, 50  # of noise that attacks on labels begin with, and points on the way to it


class _Decision(MinimizationAttack):
    """Attacks on labels alone, which begin at an adversarial point."""

    init_attack: Any
    tensorboard: Any

    def __call__(self, model: Any, inputs: Any, criterion: Any, *, epsilons: Any, starting_points: Any = None) -> Any:
        """Attack as `Attack.__call__` says; `starting_points` are (N, ...) adversarial points, or None."""
        return self._from(model, inputs, criterion, epsilons, 1, starting_points)

    def attack(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int) -> Any:
        """Do what `__call__` says, and keep the nearest point of all runs."""
        return self._from(model, inputs, criterion, epsilons, times, None)

    def _from(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int, starting_points: Any) -> Any:
        start = self._start(model, inputs, criterion) if starting_points is None else raw(starting_points)[0]
        return self._attack(model, inputs, criterion, epsilons, times, start=start)

    def _start(self, model: Any, inputs: Any, criterion: Any) -> Any:
        target, x, _, labels, common = taken(model, inputs, criterion)
        wanted = asked(target, labels, common["targeted"])
        return blended(wanted, x, common["bounds"], directions=DIRECTIONS, steps=BLENDS)

    def _check(self, **options: tuple[Any, Any]) -> None:
        if self.init_attack is not None:
            raise ValueError("init_attack: wanted None; points to begin at are given as starting_points")
        check_only(tensorboard=(self.tensorboard or False, False), **options)


@dataclass(repr=False, eq=False)
class BoundaryAttack(_Decision):
    """See `epsball.attacks.Boundary`; the walk takes all its steps: `source_step_convergance` changes nothing."""

    init_attack: Any = None
    steps: int = 25000
    spherical_step: float = 0.01
    source_step: float = 0.01
    source_step_convergance: float = 1e-7
    step_adaptation: float = 1.5
    tensorboard: Any = False
    update_stats_every_k: int = 10

    norm = "l2"

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.Boundary`."""
        self._check(step_adaptation=(self.step_adaptation, 1.5), update_stats_every_k=(self.update_stats_every_k, 10))
        return ours.Boundary(self.steps, orthogonal=self.spherical_step, towards=self.source_step, seed=seed, **common)


@dataclass(repr=False, eq=False)
class HopSkipJumpAttack(_Decision):
    """See `epsball.attacks.HopSkipJump`; `stepsize_search` and `gamma` have one value only."""

    init_attack: Any = None
    steps: int = 64
    initial_gradient_eval_steps: int = 100
    max_gradient_eval_steps: int = 10000
    stepsize_search: str = "geometric_progression"
    gamma: float = 1.0
    tensorboard: Any = False
    constraint: str = "l2"

    @property
    def distance(self) -> str:
        """The norm that is minimised, and in which `epsilons` clip."""
        return one_of("constraint", self.constraint, ("linf", "l2"))

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.HopSkipJump`."""
        self._check(stepsize_search=(self.stepsize_search, "geometric_progression"), gamma=(self.gamma, 1.0))
        return ours.HopSkipJump(
            self.distance, self.steps, init_evals=self.initial_gradient_eval_steps,
            max_evals=self.max_gradient_eval_steps, seed=seed, **common,
        )  # fmt: skip


@dataclass(repr=False, eq=False)
class PointwiseAttack(_Decision):
    """See `epsball.attacks.Pointwise`, which begins at what `init_attack`, of this module, finds: salt and pepper."""

    init_attack: Any = None
    l2_binary_search: bool = True

    norm = "l0"

    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return `attacks.Pointwise`."""
        return ours.Pointwise(refine=self.l2_binary_search, seed=seed, **common)

    def _start(self, model: Any, inputs: Any, criterion: Any) -> Any:
        begin = SaltAndPepperNoiseAttack() if self.init_attack is None else self.init_attack
        if not isinstance(begin, AnyAttack):
            raise TypeError(f"init_attack: wanted None or an attack of this module, got {type(begin).__name__}")
        return raw(begin(model, inputs, criterion, epsilons=None)[1])[0]
