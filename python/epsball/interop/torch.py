"""Models from torch and to torch, and weights from a torch module while it is trained."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from epsball.model import Sequential

if TYPE_CHECKING:
    from torch import nn

__all__ = ["from_torch", "sync_from_torch", "to_torch"]


@dataclass(frozen=True)
class Source:
    """Where in a torch module the values of a model come from, as lists of (name, path in the module) and values."""

    parameters: tuple[tuple[str, tuple[str, ...]], ...]
    constants: tuple[tuple[str, Any], ...]
    fixed: dict[str, Any]  # parameters that the module does not have: batch normalisation without affine


def from_torch(module: nn.Module, input_shape: SequenceOf[int]) -> Sequential:
    """Return an epsball model with a torch module's layers and a copy of its weights.

    Parameters
    ----------
    module
        Any module that ``torch.fx`` traces into a chain of layers, or into residual blocks of them (two values added
        that are made of the same one: a `Residual`): Linear on flat inputs, Conv2d (one group, no dilation, zero
        padding), MaxPool2d, AvgPool2d, AdaptiveAvgPool2d and means over an image where windows of one size do,
        BatchNorm1d and BatchNorm2d, Flatten and reshapes that flatten, Dropout, Identity, element-wise activations, and
        constants per channel that are added, subtracted, multiplied by or divided by, which become `Normalize`.
        Modules, functions of ``torch`` and ``torch.nn.functional``, and tensor methods are known alike. A module that
        is called twice becomes two layers with the same weights.
    input_shape
        Shape of one input.

    Returns
    -------
    Sequential
        Independent of the module: later changes of one do not reach the other, but for `sync_from_torch`.

    Raises
    ------
    ImportError
        torch is not installed.
    ValueError
        A layer, named in the message with its shape, has no counterpart here, hooks or a replaced forward; values
        branch and join in another way than by sums, or one from inside a sum's branches is taken outside; a weight is
        not finite in float32; torch.fx cannot trace the module.
    TypeError
        `module` is no torch module.

    Notes
    -----
    Weights on other devices are copied to the CPU; those of other floating-point types become float32, in which the
    model computes. Batch normalisation has the running statistics, in train mode, too: attacks see what ``eval()``
    sees, and `epsball.fit` uses a batch's own. Functional dropout is there if it is on in the mode the module is in.
    The module is left as it was.
    """
    from epsball.interop.torch_graph import Lowering

    _require_module(module)
    lowering = Lowering(module, input_shape)
    lowering.run()
    model, names = lowering.chain.model()
    model._torch_source = Source(
        tuple((name, tuple(path.split("."))) for name, path in names.items()),
        tuple(lowering.constants.items()),
        {name: value for name, value in model.parameters().items() if name not in names},
    )
    return model


def sync_from_torch(model: Sequential, module: nn.Module) -> None:
    """Copy the weights of a torch module into the model that `from_torch` made of it.

    Nothing is traced; it costs a check, a copy and a packing of the weights: for attacks on a module between the steps
    of its training.

    Parameters
    ----------
    model
        What ``from_torch(module, ...)`` returned.
    module
        That module, or another with tensors of the same names and shapes. Running statistics come along; changes
        other than of values (a stride, a layer) are not seen.

    Raises
    ------
    ValueError
        The model is not from torch; a tensor is missing, has another shape or is not finite; a constant that became
        a `Normalize` has another value now. The model is as before then.
    TypeError
        `module` is no torch module.
    RuntimeError
        The model is being trained by `epsball.fit`.

    Notes
    -----
    Safe beside other threads' calls on the model: a call sees the weights from before or from after, never a mixture.
    Nothing is allocated here but a few Python objects; the next call on the model packs the weights for the kernels,
    in place unless another call is under way, which keeps those it began with. A module that another thread writes to
    meanwhile is copied in whatever state it is.
    """
    import torch

    _require_module(module)
    source: Source | None = getattr(model, "_torch_source", None)
    if source is None:
        raise ValueError("model: wanted one that from_torch made, got another")
    values = dict(source.fixed)
    for name, path in source.parameters:
        tensor = _tensor(module, path)
        plain = tensor.dtype is torch.float32 and tensor.is_cpu  # then no copy but the one below
        values[name] = tensor.detach().numpy() if plain else _converted(".".join(path), tensor)
    for name, value in source.constants:
        if not np.array_equal(_constant(module, name), value):
            raise ValueError(f"module: its constant '{name}' has changed since from_torch; call that again")
    try:
        model._native.load_parameters(values)
    except ValueError as error:
        raise ValueError(f"module: {error}") from None


def _tensor(module: Any, path: tuple[str, ...]) -> Any:
    """Return the module's parameter or buffer; torch's own look-ups by name take longer than the copy."""
    try:
        for name in path[:-1]:
            module = module._modules[name]
        tensor = module._parameters.get(path[-1])
        tensor = module._buffers[path[-1]] if tensor is None else tensor
        if tensor is not None:
            return tensor
    except (KeyError, AttributeError):
        pass
    raise ValueError(f"module: it has no '{'.'.join(path)}', which the model was made from")


def _converted(name: str, tensor: Any) -> Any:
    from epsball.interop.chain import Refused
    from epsball.interop.torch_graph import to_array

    try:
        return to_array(tensor)
    except Refused as error:
        raise ValueError(f"module: '{name}' {error}") from None


def _constant(module: Any, name: str) -> Any:
    value = module
    for part in name.split("."):
        value = getattr(value, part, None)
    return value.detach().cpu().double().numpy() if hasattr(value, "detach") else None


def to_torch(model: Sequential) -> nn.Sequential:
    """Return a torch module with the model's layers and a copy of its weights.

    Parameters
    ----------
    model
        Any epsball model.

    Returns
    -------
    torch.nn.Sequential
        One module per layer, in eval mode, float32 on the CPU, with trainable parameters. `Normalize` becomes a module
        with the buffers ``mean`` and ``std``, `Quadratic` one that squares, `Residual` one with the Sequentials
        ``body`` and ``shortcut``; a `Linear` on images has a Flatten before it, the two in a Sequential, and there is
        one at the end if the last layer gives images. Inputs have the model's `input_shape`; epsball's may be flat as
        well.

    Raises
    ------
    ImportError
        torch is not installed.
    ValueError
        A layer, named in the message, has no counterpart in torch.
    TypeError
        `model` is no epsball model.
    """
    import torch
    from torch import nn

    from epsball.interop.torch_modules import chain_of

    if not isinstance(model, Sequential):
        raise TypeError(f"model: wanted an epsball Sequential, got {type(model).__name__}")
    with torch.random.fork_rng(devices=[]):  # torch's modules draw first weights, which are overwritten
        module = chain_of(model.layers, model.input_shape)
    if len(reduce(lambda shape, layer: layer.output_shape(shape), model.layers, model.input_shape)) > 1:
        module.append(nn.Flatten())
    for name, value in model.parameters().items():
        place, leaf = name.rsplit(".", 1)
        owner: Any = module.get_submodule(place)
        owner = owner[1] if isinstance(owner, nn.Sequential) else owner
        with torch.no_grad():
            getattr(owner, leaf).copy_(torch.from_numpy(value))
    return module.eval()


def _require_module(module: Any) -> None:
    from torch import nn

    if not isinstance(module, nn.Module):
        raise TypeError(f"module: wanted a torch nn.Module, got {type(module).__name__}")
