"""The torch modules that epsball's layers become, where torch has none; imports torch, so it is imported lazily."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from epsball.layers import (
    ELU,
    GELU,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Normalize,
    Quadratic,
    ReLU,
    Residual,
    Sigmoid,
    Softplus,
    Tanh,
)
from epsball.layers.base import Shape


class NormalizeModule(nn.Module):
    """(x − mean) / std, with buffers of shape (C, 1, ...) that the state dict holds."""

    def __init__(self, layer: Normalize, shape: Shape) -> None:
        super().__init__()
        for name, value in (("mean", layer.mean), ("std", layer.std)):
            tensor = torch.tensor(value, dtype=torch.float32).reshape(-1, *(1,) * (len(shape) - 1))
            self.register_buffer(name, tensor)

    def forward(self, x: Any) -> Any:
        """Return x normalised."""
        return (x - self.mean) / self.std


class QuadraticModule(nn.Module):
    """x²."""

    def forward(self, x: Any) -> Any:
        """Return x squared."""
        return x * x


class ResidualModule(nn.Module):
    """body(x) + shortcut(x)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Any) -> Any:
        """Return the sum."""
        return self.body(x) + self.shortcut(x)


def chain_of(layers: Sequence[Layer], shape: Shape) -> nn.Sequential:
    """Return the torch modules of layers one after another, the first on inputs of `shape`."""
    modules = []
    for layer in layers:
        modules.append(module_of(layer, shape))
        shape = layer.output_shape(shape)
    return nn.Sequential(*modules)


def module_of(layer: Layer, shape: Shape) -> Any:
    """Return the torch module of a layer on inputs of `shape`, its parameters still torch's first ones."""
    plain = {ReLU: nn.ReLU, Sigmoid: nn.Sigmoid, Tanh: nn.Tanh, Softplus: nn.Softplus, GELU: nn.GELU,
             Flatten: nn.Flatten, Quadratic: QuadraticModule}  # fmt: skip
    if type(layer) in plain:
        return plain[type(layer)]()
    if isinstance(layer, Linear):
        linear = nn.Linear(layer.in_features, layer.out_features, layer.bias)
        return linear if len(shape) == 1 else nn.Sequential(nn.Flatten(), linear)  # ours takes images as they are
    if isinstance(layer, Conv2d):
        conv: Any = nn.Conv2d
        window = {"kernel_size": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}
        return conv(layer.in_channels, layer.out_channels, **window, bias=layer.bias)
    if isinstance(layer, MaxPool2d | AvgPool2d):
        pool: Any = nn.MaxPool2d if isinstance(layer, MaxPool2d) else nn.AvgPool2d
        return pool(layer.kernel_size, layer.stride, layer.padding)
    if isinstance(layer, BatchNorm1d | BatchNorm2d):
        norm = nn.BatchNorm1d if isinstance(layer, BatchNorm1d) else nn.BatchNorm2d
        return norm(layer.num_features, layer.eps, layer.momentum)
    if isinstance(layer, Normalize):
        return NormalizeModule(layer, shape)
    if isinstance(layer, Residual):
        return ResidualModule(chain_of(layer.body, shape), chain_of(layer.shortcut, shape))
    if isinstance(layer, LeakyReLU):
        return nn.LeakyReLU(layer.slope)
    if isinstance(layer, ELU):
        return nn.ELU(layer.alpha)
    if isinstance(layer, Dropout):
        return nn.Dropout(layer.p)
    raise ValueError(f"model: layer {layer} has no counterpart in torch")


class StandardisedModule(nn.Module):
    """A module behind (x − mean) / std, which broadcast to one input, and behind the flip of an axis if asked for."""

    def __init__(self, module: Any, mean: Any, std: Any, flip_axis: int | None = None) -> None:
        super().__init__()
        self.module, self.flip_axis = module, flip_axis
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Any) -> Any:
        """Return what the module says of the standardised inputs."""
        if self.flip_axis is not None:
            x = x.flip(self.flip_axis)
        return self.module((x - self.mean) / self.std)


class FunctionModule(nn.Module):
    """A plain function of a batch as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        """Return what the function gives."""
        return self.function(x)
