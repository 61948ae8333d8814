"""What foolbox's attacks share: the call with one budget or several, repetition, and minimisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np
import torch

from epsball import attacks as ours
from epsball.arguments import whole
from epsball.interop.ball import into_ball
from epsball.interop.foolbox.model import PyTorchModel, raw


class AnyAttack(ABC):
    """Base of all attacks: the call. A subclass is its options, and `attack`."""

    times: ClassVar[int] = 1

    def __repr__(self) -> str:
        options = ", ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({options})"

    def repeat(self, times: int) -> Repeated:
        """Return the attack repeated `times` times for each row, of which the best counts."""
        return Repeated(self, times)

    def __call__(self, model: Any, inputs: Any, criterion: Any, *, epsilons: Any) -> Any:
        """Attack with one budget or with several.

        Parameters
        ----------
        model
            A `PyTorchModel` of this module.
        inputs
            (N, ...) tensor within the model's bounds.
        criterion
            Labels (N,), or a criterion.
        epsilons
            A number, or a list of them.

        Returns
        -------
        raw, clipped, is_adv
            Points and (N,) bool; for a list of budgets lists of points and (K, N) bool.

        Raises
        ------
        ValueError, TypeError
            A bad argument, named.
        """
        return self.attack(model, inputs, criterion, epsilons, 1)

    def run(
        self, model: Any, inputs: Any, criterion: Any, *, epsilon: Any = None, early_stop: Any = None, **given: Any
    ) -> Any:
        """Return the raw points of a call with one budget; `early_stop` is None, as searches go on to their end."""
        if early_stop is not None:
            raise ValueError(f"early_stop: wanted None, as searches go on to their end, got {early_stop!r}")
        return self(model, inputs, criterion, epsilons=epsilon, **given)[0]

    @abstractmethod
    def attack(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int) -> Any:
        """Do what `__call__` says, the best of so many runs."""

    def _budgets(self, epsilons: Any) -> tuple[list[float], bool]:
        """Return the budgets of an attack that needs them, and whether there was a list of them."""
        budgets, several = as_budgets(epsilons)
        if any(eps is None for eps in budgets):
            raise ValueError(f"epsilons: wanted numbers, as {type(self).__name__} has a fixed budget, got None")
        return [float(eps) for eps in budgets], several


class Attack(AnyAttack):
    """Base of the attacks with a fixed budget. A subclass is its options, and `translated`."""

    @abstractmethod
    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return the epsball attack of these options for a budget; `common` goes to every attack."""

    def attack(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int) -> Any:
        """Do what `__call__` says, and keep the best of all runs."""
        target, x, restore, labels, common = taken(model, inputs, criterion)
        budgets, several = self._budgets(epsilons)
        found, solved = [], []
        for eps in budgets:
            chosen = self.translated(eps, common, draw_seed())
            if times > 1 and isinstance(chosen, ours.RandomSearch):
                chosen = replace(chosen, draws=times * chosen.draws)
            elif times > 1 and getattr(chosen, "random_start", False):
                chosen = replace(chosen, restarts=times)  # type: ignore[call-arg]
            result = chosen.run(target, x, labels)
            found.append(restore(result.x_adv))
            solved.append(torch.from_numpy(result.success))
        if not several:
            return found[0], found[0], restore(solved[0])
        return found, list(found), restore(torch.stack(solved))


class Repeated:
    """An attack with several runs per row; see `Attack.repeat`."""

    def __init__(self, attack: AnyAttack, times: int) -> None:
        self.attack, self.times = attack, whole("times", times, 1)

    def __repr__(self) -> str:
        return f"Repeated({self.attack}, times={self.times})"

    def repeat(self, times: int) -> Repeated:
        """Return the attack with `times` as many runs."""
        return Repeated(self.attack, self.times * times)

    def __call__(self, model: Any, inputs: Any, criterion: Any, *, epsilons: Any) -> Any:
        """Attack as `Attack.__call__` does."""
        return self.attack.attack(model, inputs, criterion, epsilons, self.times)


class MinimizationAttack(Attack):
    """Base of the attacks that look for the nearest adversarial point.

    They run once, whatever `epsilons` are; these say how near to the input clipped points are brought, None: not at
    all. Raw points are those found.
    """

    norm: ClassVar[str]

    @property
    def distance(self) -> str:
        """The norm that is minimised, and in which `epsilons` clip."""
        return self.norm

    def attack(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int) -> Any:
        """Do what `__call__` says, and keep the nearest point of all runs."""
        return self._attack(model, inputs, criterion, epsilons, times)

    def _attack(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int, **more: Any) -> Any:
        target, x, _, labels, common = taken(model, inputs, criterion)
        best = self.translated(None, common | more, draw_seed()).run(target, x, labels)
        nearest, success, distance = best.x_adv, best.success, best.distance
        for _ in range(times - 1 if hasattr(self.translated(None, common | more, 0), "seed") else 0):
            run = self.translated(None, common | more, draw_seed()).run(target, x, labels)
            nearer = run.success & (~success | (run.distance < distance))
            nearest[nearer], success = run.x_adv[nearer], success | nearer
            distance = np.where(nearer, run.distance, distance)
        return judged(model, inputs, criterion, epsilons, nearest, lambda: self.distance)


def taken(model: Any, inputs: Any, criterion: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """Return the epsball model, the tensor, what puts results in its kind, labels, and what every attack is told."""
    if not isinstance(model, PyTorchModel):
        raise TypeError(f"model: wanted epsball.interop.foolbox.PyTorchModel, got {type(model).__name__}")
    x, restore = raw(inputs)
    labels, targeted = goal(criterion)
    return model._followed.model(x), x, restore, labels, {"targeted": targeted, "bounds": model.bounds}


def adversarial(target: Any, points: Any, labels: Any, targeted: bool) -> Any:
    """Return which points are what is wanted, (N,) bool."""
    return (torch.as_tensor(target.predict(points)) == labels) == targeted


def judged(model: Any, inputs: Any, criterion: Any, epsilons: Any, points: Any, norm: Callable[[], str]) -> Any:
    """Return the points that were found, these brought within each budget, and what the model says of those."""
    target, x, restore, labels, common = taken(model, inputs, criterion)
    budgets, several = as_budgets(epsilons)
    clipped, solved = [], []
    for eps in budgets:
        near = points if eps is None else into_ball(points, x, float(eps), norm(), model.bounds)
        clipped.append(restore(near))
        solved.append(adversarial(target, near, labels, common["targeted"]))
    if not several:
        return restore(points), clipped[0], restore(solved[0])
    return [restore(points)] * len(clipped), clipped, restore(torch.stack(solved))


def as_budgets(epsilons: Any) -> tuple[list[Any], bool]:
    """Return the budgets, and whether there was a list of them."""
    several = isinstance(epsilons, Sequence | np.ndarray | torch.Tensor) and np.ndim(epsilons) > 0
    return (list(epsilons) if several else [epsilons]), several


def draw_seed() -> int:
    return int(torch.randint(2**63 - 1, ()).item())


def check_only(**options: tuple[Any, Any]) -> None:
    """Refuse options that have another value than the only one that epsball has."""
    for name, (value, only) in options.items():
        if value != only:
            raise ValueError(f"{name}: wanted {only!r}, the only value that epsball has, got {value!r}")


def goal(criterion: Any) -> tuple[Any, bool]:
    """Return the labels or targets, and whether they are targets."""
    for name, targeted in (("target_classes", True), ("labels", False)):
        if hasattr(criterion, name):
            return raw(getattr(criterion, name))[0], targeted
    try:
        return raw(criterion)[0], False
    except TypeError:
        raise TypeError(
            f"criterion: wanted labels, Misclassification or TargetedMisclassification, got {criterion!r}"
        ) from None


def untargeted(common: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the options of an attack that knows no targets."""
    if common["targeted"]:
        raise ValueError(f"criterion: wanted labels or Misclassification, as {name} knows no targets")
    return {option: value for option, value in common.items() if option != "targeted"}
