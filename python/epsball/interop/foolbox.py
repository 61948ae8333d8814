"""Drop-in for foolbox 3: its names, signatures and defaults; tensors in, tensors out; the attacks are epsball's.

``import epsball.interop.foolbox as fb`` is the whole migration of ``fb.PyTorchModel`` and ``fb.attacks``; foolbox need
not be installed. `to_foolbox` goes the other way: foolbox's attacks on epsball's models. What differs, and is meant to:

- An iterative attack returns the best iterate of each row (misclassified first, then the highest loss), not the last;
  raw and clipped results are the same points, as the bound is exact, and `is_adv` is what the model says of them.
- L1 steps go along the largest derivatives first, and the L1 projection is the nearest point; foolbox rescales both.
- ``repeat(n)`` of a random attack is n restarts in one call.
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
from epsball.arguments import pair, whole
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
        if not isinstance(model, PyTorchModel):
            raise TypeError(f"model: wanted epsball.interop.foolbox.PyTorchModel, got {type(model).__name__}")
        x, restore = _raw(inputs)
        labels, targeted = _goal(criterion)
        common = {"targeted": targeted, "bounds": model.bounds}
        several = isinstance(epsilons, Sequence | np.ndarray | torch.Tensor) and np.ndim(epsilons) > 0
        target, found, solved = model._followed.model(x), [], []
        for eps in epsilons if several else [epsilons]:
            if eps is None:
                raise ValueError(f"epsilons: wanted numbers, as {type(self).__name__} has a fixed budget, got None")
            chosen = self.translated(float(eps), common, int(torch.randint(2**63 - 1, ()).item()))
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


FGM = L2FastGradientAttack
FGSM = LinfFastGradientAttack
L1PGD = L1ProjectedGradientDescentAttack
L2PGD = L2ProjectedGradientDescentAttack
LinfPGD = LinfProjectedGradientDescentAttack
PGD = LinfPGD
MIFGSM = LinfMomentumIterativeFastGradientMethod

attacks = criteria = utils = sys.modules[__name__]  # so that fb.attacks.LinfPGD is what it is in foolbox


def __getattr__(name: str) -> Any:
    raise AttributeError(f"epsball.interop.foolbox has no {name!r} in this version")
