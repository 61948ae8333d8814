"""A torch module as the model that attacks run on: in the engine where it can be, with the weights it has now."""

from __future__ import annotations

from typing import Any

from epsball.classifier import Classifier
from epsball.interop.torch import from_torch, sync_from_torch
from epsball.model import Sequential
from epsball.sources.base import LabelSource
from epsball.sources.torch_model import TorchModel, evaluating


class Followed:
    """A torch module and what stands for it in attacks: `from_torch` of it where that works, else a `TorchModel`.

    Parameters
    ----------
    module
        A ``torch.nn.Module``; or an epsball model or source, which then stands for itself.

    Attributes
    ----------
    module
        As given.
    lowered : bool or None
        Whether the engine computes the model itself; None before the first call, since shapes are not known yet.
    why_not : str
        Why it does not, in the words of `from_torch`; empty where it does.

    Raises
    ------
    TypeError
        `module` is neither.

    Notes
    -----
    The module is lowered once for each shape of inputs, in evaluation mode, and again when its layers change; numbers
    that a forward reads from plain attributes of a module are those it had then. At every call the weights are copied
    from the module, whose modes, gradients and hooks stay as they are.
    """

    def __init__(self, module: Any) -> None:
        from torch import nn

        if not isinstance(module, nn.Module | Classifier | LabelSource):
            raise TypeError(f"model: wanted a torch nn.Module or an epsball model, got {type(module).__name__}")
        self.module: Any = module
        self.lowered: bool | None = None if isinstance(module, nn.Module) else isinstance(module, Sequential)
        self.why_not = ""
        self._models: dict[tuple[int, ...], Any] = {}
        self._layers: Any = None

    @property
    def engine(self) -> str:
        """Who computes the model, in words."""
        if self.lowered is None:
            return "not called yet"
        return "epsball" if self.lowered else f"{type(self.module).__name__} itself ({self.why_not or 'as given'})"

    def __repr__(self) -> str:
        return f"Followed({type(self.module).__name__}, computed by {self.engine})"

    def model(self, x: Any) -> Any:
        """Return the model for inputs such as x (N, ...), its weights those that the module has now."""
        if isinstance(self.module, Classifier | LabelSource):
            return self.module
        layers = _layers(self.module)
        if layers != self._layers:
            self._models, self._layers = {}, layers
        shape = tuple(x.shape[1:])
        known = self._models.get(shape)
        if not isinstance(known, Sequential):
            return known or self._lower(shape)
        try:
            sync_from_torch(known, self.module)
        except (
            ValueError
        ):  # another shape or constant: the module is not what it was, and a new lowering says what it is
            return self._lower(shape)
        return known

    def _lower(self, shape: tuple[int, ...]) -> Any:
        model: Any
        try:
            with evaluating(self.module):
                model = from_torch(self.module, shape)
            self.lowered, self.why_not = True, ""
        except ValueError as error:
            model = TorchModel(self.module)
            self.lowered, self.why_not = False, str(error)
        self._models[shape] = model
        return model


def follow(name: str, model: Any) -> Followed:
    """Return what stands in attacks for a module, for any other function of a batch, or for an epsball model."""
    from torch import nn

    from epsball.interop.torch_modules import FunctionModule

    if isinstance(model, nn.Module | Classifier | LabelSource):
        return Followed(model)
    if not callable(model):
        raise TypeError(f"{name}: wanted a function of a batch that gives logits, got {type(model).__name__}")
    return Followed(TorchModel(FunctionModule(model)))


def _layers(module: Any) -> list[tuple[Any, str, int]]:
    """Return the modules with their options and hooks: what a lowering depends on besides the weights."""
    return [
        (part, part.extra_repr(), len(part._forward_hooks) + len(part._forward_pre_hooks)) for part in module.modules()
    ]
