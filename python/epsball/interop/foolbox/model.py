"""foolbox's model around a torch module, its criteria, and the way back."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from epsball.arguments import flag, pair
from epsball.interop.following import Followed
from epsball.interop.torch_modules import StandardisedModule


class Bounds(NamedTuple):
    """Lower and upper bound of inputs."""

    lower: float
    upper: float


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
        if device is not None and torch.device(device).type != "cpu":
            raise ValueError(f"device: wanted None or 'cpu', got {device!r}")
        self.bounds, self.device = _bounds(bounds), torch.device("cpu")
        self._followed = Followed(_preprocessed(model, preprocessing) if preprocessing else model)

    @property
    def engine(self) -> str:
        """Who computes the model: epsball, or the module itself, and why."""
        return self._followed.engine

    def __repr__(self) -> str:
        bounds = tuple(self.bounds)
        return f"PyTorchModel({type(self._followed.module).__name__}, bounds={bounds}, engine={self.engine})"

    def __call__(self, inputs: Any) -> Any:
        """Return the logits; they carry no gradient (see `to_foolbox` for one that does)."""
        x, restore = raw(inputs)
        return restore(self._followed.model(x)(x))

    def transform_bounds(self, bounds: Any, inplace: bool = False, wrapper: bool = False) -> PyTorchModel:
        """Return the model for inputs within other bounds, which are stretched to those that it has.

        With `inplace` it is this object; `wrapper` changes nothing but that it excludes `inplace`.
        """
        if flag("inplace", inplace) and flag("wrapper", wrapper):
            raise ValueError("inplace: wanted False with wrapper=True, got True")
        new = _bounds(bounds)
        model = self if inplace else copy.copy(self)
        if new != self.bounds:
            scale = (new.upper - new.lower) / (self.bounds.upper - self.bounds.lower)
            shift = {"mean": new.lower - scale * self.bounds.lower, "std": scale}
            model._followed = Followed(_preprocessed(self._followed.module, shift))
            model.bounds = new
        return model


def _bounds(given: Any) -> Bounds:
    lower, upper = pair("bounds", given if isinstance(given, tuple | list) else tuple(given))
    return Bounds(float(lower), float(upper))


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
    return float((raw(fmodel(inputs))[0].argmax(-1) == raw(labels)[0]).to(torch.float32).mean())


def raw(value: Any) -> tuple[Any, Any]:
    """Return the tensor in a value, and the function that puts another one into the value's place."""
    if isinstance(value, torch.Tensor):
        return value.detach(), lambda tensor: tensor
    raw = getattr(value, "raw", None)  # an eagerpy tensor
    if isinstance(raw, torch.Tensor):
        return raw.detach(), type(value)
    raise TypeError(f"inputs: wanted a torch tensor, got {type(value).__name__}")
