"""Models from torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from epsball.layers import ELU, GELU, Dropout, Flatten, Layer, LeakyReLU, Linear, ReLU, Sigmoid, Softplus, Tanh
from epsball.model import Sequential

__all__ = ["from_torch"]

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def from_torch(module: Any, input_shape: Sequence[int]) -> Sequential:
    """Return an epsball model with a torch module's layers and a copy of its weights.

    Parameters
    ----------
    module
        An ``nn.Sequential`` (nested ones too) of Flatten, Linear, Dropout, Identity and element-wise activations.
        A module that stands there twice becomes two layers with the same weights.
    input_shape
        Shape of one input.

    Returns
    -------
    Sequential
        Independent of the module: later changes of one do not reach the other.

    Raises
    ------
    ImportError
        torch is not installed.
    ValueError
        A layer, named in the message, has no counterpart here, a forward of its own, or hooks.
    """
    from torch import nn

    if not isinstance(module, nn.Module):
        raise TypeError(f"module: wanted a torch nn.Module, got {type(module).__name__}")
    layers: list[Layer] = []
    values: dict[str, Any] = {}
    for name, layer in _leaves(module, ""):
        if type(layer) is nn.Identity:
            continue
        converted = _convert(name, layer)
        if isinstance(converted, Linear):
            values[f"{len(layers)}.weight"] = layer.weight.detach().cpu().float().numpy()
            if converted.bias:
                values[f"{len(layers)}.bias"] = layer.bias.detach().cpu().float().numpy()
        layers.append(converted)
    model = Sequential(layers, input_shape)
    model.load_parameters(values)
    return model


def _leaves(module: Any, name: str) -> list[tuple[str, Any]]:
    """Return (name, module) of the layers in order; only nn.Sequential is known to apply its children so."""
    from torch import nn

    _require_known_call(name or type(module).__name__, module)
    if not isinstance(module, nn.Sequential):
        return [(name or type(module).__name__, module)]
    return [
        leaf
        for child_name, child in module._modules.items()  # named_children() leaves out a module's second use
        for leaf in _leaves(child, f"{name}.{child_name}" if name else child_name)
    ]


def _require_known_call(name: str, module: Any) -> None:
    """Refuse what can make a call compute something else than the module's class does."""
    from torch import nn

    every_module: Any = nn.modules.module  # torch leaves its functions untyped
    layer = f"layer '{name}' ({type(module).__name__})"
    own = getattr(module, "__dict__", {})  # a child may be None
    sequential = isinstance(module, nn.Sequential) and any(
        getattr(type(module), method) is not getattr(nn.Sequential, method)
        for method in ("forward", "__call__", "__iter__")
    )
    if sequential or "forward" in own:
        raise ValueError(f"module: {layer} has a forward of its own; wanted that of a torch.nn class")
    hooks = [hook for hook in HOOKS if own.get(hook)]
    if every_module._has_any_global_hook():
        hooks.append("global module hooks")
    if hooks:
        raise ValueError(f"module: {layer} runs {', '.join(hooks)}; wanted a module without hooks")


def _convert(name: str, layer: Any) -> Layer:
    from torch import nn

    if type(layer) is nn.Linear:
        return Linear(layer.in_features, layer.out_features, layer.bias is not None)
    if type(layer) is nn.Flatten and layer.start_dim == 1 and layer.end_dim == -1:
        return Flatten()
    if type(layer) is nn.Dropout:
        return Dropout(layer.p)
    if type(layer) is nn.LeakyReLU and layer.negative_slope > 0:
        return LeakyReLU(layer.negative_slope)
    if type(layer) is nn.ELU and layer.alpha > 0:
        return ELU(layer.alpha)
    if type(layer) is nn.GELU and layer.approximate == "none":
        return GELU()
    if type(layer) is nn.Softplus and layer.beta == 1 and layer.threshold == 20:  # linear above it, exact to float32
        return Softplus()
    plain: dict[type, type[ReLU | Sigmoid | Tanh]] = {nn.ReLU: ReLU, nn.Sigmoid: Sigmoid, nn.Tanh: Tanh}
    if type(layer) in plain:
        return plain[type(layer)]()
    raise ValueError(f"module: layer '{name}' ({layer}) has no counterpart in this version of epsball")
