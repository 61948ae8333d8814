"""Drop-in for foolbox 3: its names, signatures and defaults; tensors in, tensors out; the attacks are epsball's.

``import epsball.interop.foolbox as fb`` is the whole migration of ``fb.PyTorchModel`` and ``fb.attacks``; foolbox need
not be installed. `to_foolbox` goes the other way: foolbox's attacks on epsball's models. What differs, and is meant to:

- An iterative attack returns the best iterate of each row (misclassified first, then the highest loss), not the last;
  raw and clipped results are the same points, as the bound is exact, and `is_adv` is what the model says of them.
- L1 steps go along the largest derivatives first, and the L1 projection is the nearest point; foolbox rescales both.
- Minimum-norm attacks return rows that they do not break as they were; `epsilons` clip to the ball's nearest point.
- `BoundaryAttack` and `HopSkipJumpAttack` begin on the way to noise, as in foolbox, or at ``starting_points``; rows
  without one fail alone, where foolbox raises.
- ``repeat(n)`` of a random attack is n restarts in one call, or the nearest point of n runs.
- Random draws come from epsball's counters, seeded from torch's global generator.
- Criteria are `Misclassification` and `TargetedMisclassification`, foolbox's own or these, or labels.

A module is followed: its weights are those it has at each call, it is computed by the engine where
`epsball.from_torch` knows its layers, and ``model.engine`` and the repr say so, or why not.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch

from epsball import attacks as ours
from epsball import ops
from epsball.arguments import flag, one_of, pair, whole
from epsball.interop.following import Followed
from epsball.interop.torch_modules import StandardisedModule

# ---- models and criteria


class PyTorchModel:
    """A torch module, or an epsball model, with bounds and preprocessing.

    Parameters
    ----------
    model
        A ``torch.nn.Module``; also an epsball model or source.
    bounds
        (lower, upper) of the inputs.
    device
        None or the CPU.
    preprocessing
        None or a dictionary with ``mean``, ``std``, ``axis`` (negative: where they go in an input) and ``flip_axis``.

    Raises
    ------
    ValueError, TypeError
        A bad argument, named; preprocessing for an epsball model, which has `epsball.Normalize` for that.
    """

    data_format = "channels_first"

    def __init__(
        self, model: Any, bounds: Any, device: Any = None, preprocessing: dict[str, Any] | None = None
    ) -> None:
        lower, upper = pair("bounds", tuple(bounds) if not isinstance(bounds, tuple | list) else bounds)
        if device is not None and torch.device(device).type != "cpu":
            raise ValueError(f"device: wanted None or 'cpu', got {device!r}")
        self.bounds, self.device = (float(lower), float(upper)), torch.device("cpu")
        self._followed = Followed(_preprocessed(model, preprocessing) if preprocessing else model)

    @property
    def engine(self) -> str:
        """Who computes the model: epsball, or the module itself, and why."""
        return self._followed.engine

    def __repr__(self) -> str:
        return f"PyTorchModel({type(self._followed.module).__name__}, bounds={self.bounds}, engine={self.engine})"

    def __call__(self, inputs: Any) -> Any:
        """Return the logits; they carry no gradient (see `to_foolbox` for one that does)."""
        x, restore = _raw(inputs)
        return restore(self._followed.model(x)(x))


def _preprocessed(model: Any, preprocessing: dict[str, Any]) -> Any:
    if unknown := sorted(set(preprocessing) - {"mean", "std", "axis", "flip_axis"}):
        raise ValueError(f"preprocessing: wanted mean, std, axis and flip_axis, got {unknown[0]!r}")
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"preprocessing: wanted a torch module as the model, got {type(model).__name__}")
    mean, std = (_statistic(preprocessing, name, neutral) for name, neutral in (("mean", 0.0), ("std", 1.0)))
    return StandardisedModule(model, mean, std, preprocessing.get("flip_axis"))


def _statistic(preprocessing: dict[str, Any], name: str, neutral: float) -> torch.Tensor:
    """Return mean or std in a shape that broadcasts to inputs."""
    given, axis = preprocessing.get(name), preprocessing.get("axis")
    value = torch.as_tensor(np.asarray(neutral if given is None else getattr(given, "raw", given), np.float32))
    if axis is None or given is None:
        return value
    if value.ndim != 1 or axis >= 0:
        raise ValueError(f"preprocessing: wanted a negative axis and {name} of one dimension, got axis {axis}")
    return value.reshape(-1, *(1,) * (-axis - 1))


def to_foolbox(model: Any, bounds: Any = (0, 1)) -> Any:
    """Return an epsball model as a ``foolbox.PyTorchModel`` on which foolbox's own attacks run.

    Logits and their derivatives are the engine's.

    Parameters
    ----------
    model
        An epsball model or a gradient source.
    bounds
        (lower, upper) of its inputs.

    Raises
    ------
    ImportError
        foolbox is not installed.
    TypeError
        `model` has no gradients.
    """
    import foolbox

    from epsball.interop.torch_function import EngineModule

    return foolbox.PyTorchModel(EngineModule(model), bounds=bounds, device="cpu")


@dataclass
class Misclassification:
    """Any class but the label is adversarial."""

    labels: Any


@dataclass
class TargetedMisclassification:
    """The target class is adversarial."""

    target_classes: Any


def accuracy(fmodel: Any, inputs: Any, labels: Any) -> float:
    """Return the fraction of inputs that the model gets right."""
    return float((_raw(fmodel(inputs))[0].argmax(-1) == _raw(labels)[0]).to(torch.float32).mean())


# ---- attacks


class Attack(ABC):
    """Base of the attacks with a fixed budget: the call. A subclass is its options, and `translated`."""

    times: ClassVar[int] = 1

    @abstractmethod
    def translated(self, eps: Any, common: dict[str, Any], seed: int) -> ours.Attack:
        """Return the epsball attack of these options for a budget; `common` goes to every attack."""

    def __repr__(self) -> str:
        options = ", ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({options})"

    def repeat(self, times: int) -> Repeated:
        """Return the attack with so many runs per row, the best of which counts."""
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

    def attack(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int) -> Any:
        """Do what `__call__` says, the best of so many runs."""
        target, x, restore, labels, common = _taken(model, inputs, criterion)
        budgets, several = _budgets(epsilons)
        found, solved = [], []
        for eps in budgets:
            if eps is None:
                raise ValueError(f"epsilons: wanted numbers, as {type(self).__name__} has a fixed budget, got None")
            chosen = self.translated(float(eps), common, _draw_seed())
            if times > 1 and getattr(chosen, "random_start", False):
                chosen = replace(chosen, restarts=times)  # type: ignore[call-arg]
            result = chosen.run(target, x, labels)
            found.append(restore(result.x_adv))
            solved.append(torch.from_numpy(result.success))
        if not several:
            return found[0], found[0], restore(solved[0])
        return found, list(found), restore(torch.stack(solved))


class Repeated:
    """An attack with several runs per row; see `Attack.repeat`."""

    def __init__(self, attack: Attack, times: int) -> None:
        self.attack, self.times = attack, whole("times", times, 1)

    def __repr__(self) -> str:
        return f"Repeated({self.attack}, times={self.times})"

    def repeat(self, times: int) -> Repeated:
        """Return the attack with so many times as many runs."""
        return Repeated(self.attack, self.times * times)

    def __call__(self, model: Any, inputs: Any, criterion: Any, *, epsilons: Any) -> Any:
        """Attack as `Attack.__call__` does."""
        return self.attack.attack(model, inputs, criterion, epsilons, self.times)


def _raw(value: Any) -> tuple[Any, Any]:
    """Return the tensor in a value, and the function that puts another one into the value's place."""
    if isinstance(value, torch.Tensor):
        return value.detach(), lambda tensor: tensor
    raw = getattr(value, "raw", None)  # an eagerpy tensor
    if isinstance(raw, torch.Tensor):
        return raw.detach(), type(value)
    raise TypeError(f"inputs: wanted a torch tensor, got {type(value).__name__}")


def _taken(model: Any, inputs: Any, criterion: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """Return the epsball model, the tensor, what puts results in its kind, labels, and what every attack is told."""
    if not isinstance(model, PyTorchModel):
        raise TypeError(f"model: wanted epsball.interop.foolbox.PyTorchModel, got {type(model).__name__}")
    x, restore = _raw(inputs)
    labels, targeted = _goal(criterion)
    return model._followed.model(x), x, restore, labels, {"targeted": targeted, "bounds": model.bounds}


def _budgets(epsilons: Any) -> tuple[list[Any], bool]:
    """Return the budgets, and whether there was a list of them."""
    several = isinstance(epsilons, Sequence | np.ndarray | torch.Tensor) and np.ndim(epsilons) > 0
    return (list(epsilons) if several else [epsilons]), several


def _draw_seed() -> int:
    return int(torch.randint(2**63 - 1, ()).item())


def _check_only(**options: tuple[Any, Any]) -> None:
    """Refuse options that have another value than the only one that epsball has."""
    for name, (value, only) in options.items():
        if value != only:
            raise ValueError(f"{name}: wanted {only!r}, the only value that epsball has, got {value!r}")


def _goal(criterion: Any) -> tuple[Any, bool]:
    """Return the labels or targets, and whether they are targets."""
    for name, targeted in (("target_classes", True), ("labels", False)):
        if hasattr(criterion, name):
            return _raw(getattr(criterion, name))[0], targeted
    try:
        return _raw(criterion)[0], False
    except TypeError:
        raise TypeError(
            f"criterion: wanted labels, Misclassification or TargetedMisclassification, got {criterion!r}"
        ) from None


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
    """See `epsball.attacks.MomentumPGD`; foolbox adds up gradients of any length, the paper and epsball g / ‖g‖₁."""

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
        return ours.SLIDE(eps, part=1 - self.quantile, **options, seed=seed, **common)


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
        _check_only(adam_epsilon=(self.adam_epsilon, 1e-8))
        size = self.rel_stepsize * eps if self.abs_stepsize is None else self.abs_stepsize
        options: dict[str, Any] = {"steps": self.steps, "step_size": size, "random_start": self.random_start}
        options |= {"beta1": self.adam_beta1, "beta2": self.adam_beta2}
        return ours.AdamPGD(eps, norm=self.norm, **options, seed=seed, **common)


@dataclass(kw_only=True, repr=False, eq=False)
class L2AdamBasicIterativeAttack(LinfAdamBasicIterativeAttack):
    """See `epsball.attacks.AdamPGD`."""

    norm = "l2"


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


# ---- the nearest adversarial point

DIRECTIONS, BLENDS = 1000, 50  # of noise that attacks on labels begin with, and points on the way to it


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
        """Do what `__call__` says, the nearest of so many runs."""
        return self._attack(model, inputs, criterion, epsilons, times)

    def _attack(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int, **more: Any) -> Any:
        target, x, restore, labels, common = _taken(model, inputs, criterion)
        best = self.translated(None, common | more, _draw_seed()).run(target, x, labels)
        raw, success, distance = best.x_adv, best.success, best.distance
        for _ in range(times - 1 if hasattr(self.translated(None, common | more, 0), "seed") else 0):
            run = self.translated(None, common | more, _draw_seed()).run(target, x, labels)
            nearer = run.success & (~success | (run.distance < distance))
            raw[nearer], success = run.x_adv[nearer], success | nearer
            distance = np.where(nearer, run.distance, distance)
        budgets, several = _budgets(epsilons)
        clipped, solved = [], []
        for eps in budgets:
            points = raw if eps is None else self._clipped(raw, x, float(eps), model.bounds)
            predicted = torch.as_tensor(target.predict(points))
            clipped.append(restore(points))
            solved.append((predicted == labels) == common["targeted"])
        if not several:
            return restore(raw), clipped[0], restore(solved[0])
        return [restore(raw)] * len(clipped), clipped, restore(torch.stack(solved))

    def _clipped(self, raw: Any, x: Any, eps: float, bounds: Any) -> Any:
        points = raw.clone()
        ops.project_(points, x, eps=eps, norm=self.distance, bounds=bounds)
        return points


def _untargeted(common: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the options of an attack that knows no targets."""
    if common["targeted"]:
        raise ValueError(f"criterion: wanted labels or Misclassification, as {name} knows no targets")
    return {option: value for option, value in common.items() if option != "targeted"}


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
        _check_only(loss=(self.loss, "logits"))
        return ours.DeepFool(
            self.norm, self.steps, self.overshoot, self.candidates, **_untargeted(common, type(self).__name__)
        )


@dataclass(kw_only=True, repr=False, eq=False)
class LinfDeepFoolAttack(L2DeepFoolAttack):
    """See `epsball.attacks.DeepFool`."""

    norm = "linf"


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
        _check_only(init_attack=(self.init_attack, None), min_stepsize=(self.min_stepsize or least, least))
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


def _blended(target: Any, x: Any, labels: Any, targeted: bool, bounds: Any) -> Any:
    """Return the first adversarial points on the way from x to uniform noise; x itself where there is none."""
    lower, upper = bounds

    def adversarial(points: Any, rows: Any) -> Any:
        return (torch.as_tensor(target.predict(points)) == labels[rows]) == targeted

    end, left = x.clone(), torch.arange(len(x))
    for attempt in range(2 * DIRECTIONS):
        if len(left) == 0:
            break
        noise = lower + (upper - lower) * torch.rand_like(x[left])
        # Noise, and next a part of the way to it: noise itself may all be of the label's class.
        part = torch.rand(len(left)).reshape(-1, *(1,) * (x.ndim - 1)) ** (attempt % 2)
        points = (x[left] + part * (noise - x[left])).clamp(lower, upper)
        won = adversarial(points, left)
        end[left[won]] = points[won]
        left = left[~won]
    start, left = end.clone(), torch.arange(len(x))
    for share in range(1, BLENDS):
        points = (x[left] + share / BLENDS * (end[left] - x[left])).clamp(lower, upper)
        won = adversarial(points, left)
        start[left[won]] = points[won]
        left = left[~won]
        if len(left) == 0:
            break
    return start


class _Decision(MinimizationAttack):
    """Attacks on labels alone, which begin at an adversarial point."""

    init_attack: Any
    tensorboard: Any

    def __call__(self, model: Any, inputs: Any, criterion: Any, *, epsilons: Any, starting_points: Any = None) -> Any:
        """Attack as `Attack.__call__` says; `starting_points` are (N, ...) adversarial points, or None."""
        return self._from(model, inputs, criterion, epsilons, 1, starting_points)

    def attack(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int) -> Any:
        """Do what `__call__` says, the nearest of so many runs."""
        return self._from(model, inputs, criterion, epsilons, times, None)

    def _from(self, model: Any, inputs: Any, criterion: Any, epsilons: Any, times: int, starting_points: Any) -> Any:
        if starting_points is None:
            target, x, _, labels, common = _taken(model, inputs, criterion)
            start = _blended(target, x, labels, **common)
        else:
            start = _raw(starting_points)[0]
        return self._attack(model, inputs, criterion, epsilons, times, start=start)

    def _check(self, **options: tuple[Any, Any]) -> None:
        if self.init_attack is not None:
            raise ValueError("init_attack: wanted None; points to begin at are given as starting_points")
        _check_only(tensorboard=(self.tensorboard or False, False), **options)


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
            self.distance, self.steps, probes=self.initial_gradient_eval_steps,
            most_probes=self.max_gradient_eval_steps, seed=seed, **common,
        )  # fmt: skip


# ---- beyond the ball


@dataclass(repr=False, eq=False)
class SpatialAttack:
    """See `epsball.attacks.Spatial`; no ball bounds it, so that `epsilons` change nothing, as in foolbox."""

    max_translation: float = 3
    max_rotation: float = 30
    num_translations: int = 5
    num_rotations: int = 5
    grid_search: bool = True
    random_steps: int = 100

    def __repr__(self) -> str:
        options = ", ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))
        return f"SpatialAttack({options})"

    def repeat(self, times: int) -> SpatialAttack:
        """Return the attack with so many times as many random transformations."""
        if flag("grid_search", self.grid_search):
            raise ValueError("times: the grid is the same every time; wanted an attack with grid_search=False")
        return replace(self, random_steps=self.random_steps * whole("times", times, 1))

    def __call__(self, model: Any, inputs: Any, criterion: Any, *, epsilons: Any = None) -> Any:
        """Return (points, the same points, is_adv)."""
        target, x, restore, labels, common = _taken(model, inputs, criterion)
        grid = (self.num_rotations, self.num_translations, self.num_translations)
        draws = 0 if flag("grid_search", self.grid_search) else self.random_steps
        attack = ours.Spatial(self.max_rotation, self.max_translation, grid, draws, seed=_draw_seed(), **common)
        run = attack.run(target, x, labels)
        points = torch.where(torch.from_numpy(run.success).reshape(-1, *(1,) * (x.ndim - 1)), run.x_adv, x)
        return restore(points), restore(points), restore(torch.from_numpy(run.success))


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

attacks = criteria = utils = sys.modules[__name__]  # so that fb.attacks.LinfPGD is what it is in foolbox


def __getattr__(name: str) -> Any:
    raise AttributeError(f"epsball.interop.foolbox has no {name!r} in this version")
