"""A torch module as torch.fx sees it, lowered layer by layer to a chain; imports torch, so it is imported lazily."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from epsball.interop.chain import Chain, Refused, Value
from epsball.layers import (
    ELU,
    GELU,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Quadratic,
    ReLU,
    Sigmoid,
    Softplus,
    Tanh,
)
from epsball.layers.base import two

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
EXTRA = object()  # what only the defaults of further arguments lead to
TAKEN = "; eb.TorchModel(module) takes it as it is"
# Functions and tensor methods with the module that does the same and what they call its arguments.
FUNCTIONS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "relu": (nn.ReLU, ("inplace",)),
    "leaky_relu": (nn.LeakyReLU, ("negative_slope", "inplace")),
    "elu": (nn.ELU, ("alpha", "inplace")),
    "gelu": (nn.GELU, ("approximate",)),
    "softplus": (nn.Softplus, ("beta", "threshold")),
    "sigmoid": (nn.Sigmoid, ()),
    "tanh": (nn.Tanh, ()),
    "avg_pool2d": (
        nn.AvgPool2d,
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    "max_pool2d": (
        nn.MaxPool2d,
        ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    ),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d, ("output_size",)),
}
ARITHMETIC = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "truediv": "div"}
SAME = ("clone", "contiguous", "float")  # what leaves a float32 tensor's values as they are
OTHERS = ("conv2d", "dropout", "flatten", "getitem", "linear", "mean", "pow", "reshape", "square")
SOFTMAXES = ("softmax", "log_softmax")
KNOWN = {
    getattr(home, name): name
    for home in (torch, functional, operator)
    for name in (*FUNCTIONS, *ARITHMETIC, *SAME, *OTHERS, *SOFTMAXES)
    if hasattr(home, name)
} | {getattr(torch, f"{name}_"): name for name in FUNCTIONS if hasattr(torch, f"{name}_")}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the chain, the memory that it lies in, and how many tensors were made before it."""

    value: Value
    memory: int
    made: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return self.value.shape


@dataclass(frozen=True)
class Attribute:
    """A tensor that the module owns, under its name there."""

    name: str
    value: torch.Tensor


class Tracer(fx.Tracer):
    """Looks into every module but torch's own, and at what runs beside their forward."""

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Trace a call unless hooks or a replaced forward would be lost."""
        check_call(self.path_of_module(m), m)
        return super().call_module(m, forward, args, kwargs)


def check_call(name: str, module: Any) -> None:
    """Refuse what makes a call compute something else than the module's class does."""
    every_module: Any = nn.modules.module  # torch leaves its functions untyped
    layer = f"module: layer '{name or type(module).__name__}' ({type(module).__name__})"
    own = module.__dict__
    if "forward" in own:
        raise ValueError(f"{layer} has a forward of its own; wanted that of its class{TAKEN}")
    hooks = [hook for hook in HOOKS if own.get(hook)]
    if every_module._has_any_global_hook():
        hooks.append("global module hooks")
    if hooks:
        raise ValueError(f"{layer} runs {', '.join(hooks)}; wanted a module without hooks{TAKEN}")
    empty = [child for child, value in module._modules.items() if value is None]
    if isinstance(module, nn.Sequential) and empty:
        raise ValueError(f"{layer} has nothing under '{empty[0]}'")


def trace(module: nn.Module) -> tuple[fx.Graph, dict[str, Any]]:
    """Return the module's graph and the constants that fx would have left in the module."""
    check_call("", module)
    parameters = list(inspect.signature(type(module).forward).parameters.values())[2:]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    before = set(vars(module))
    try:
        graph = Tracer().trace(module, defaults or None)
    except ValueError as error:
        if str(error).startswith("module: layer"):
            raise
        raise ValueError(f"module: torch.fx cannot trace {type(module).__name__}: {error}{TAKEN}") from error
    except Exception as error:  # tracing runs the module's own code, which may raise anything
        raise ValueError(f"module: torch.fx cannot trace {type(module).__name__}: {error}{TAKEN}") from error
    finally:
        added = {name: vars(module).pop(name) for name in set(vars(module)) - before}
    return graph, added


def to_array(tensor: torch.Tensor) -> Any:
    """Return a tensor's values as float32, which shares memory where it is that on the CPU already."""
    if tensor.is_meta:
        raise Refused("is on the meta device, where tensors have no values")
    if tensor.layout is not torch.strided or not tensor.is_floating_point():
        raise Refused(f"has a tensor of {tensor.dtype}, {tensor.layout}; wanted dense floating-point ones")
    return tensor.detach().to("cpu", torch.float32).numpy()


class Lowering:
    """Goes through a module's graph and grows a chain."""

    def __init__(self, module: nn.Module, input_shape: Sequence[int]) -> None:
        self.chain = Chain(input_shape)
        self.constants: dict[str, Any] = {}  # values that became fixed numbers, by the module's name
        self._module = module
        self._made = 0  # tensors so far
        self._written: dict[int, int] = {}  # memory that was written to in place -> the last tensor made so
        self._at = Tensor(self.chain.at, 0, 0)  # what the node at hand takes
        self._in_place = False  # whether that node writes to its memory
        self._graph, self._added = trace(module)

    def run(self) -> None:
        """Lower every node in order."""
        values: dict[fx.Node, Any] = {}
        for node in self._graph.nodes:
            values[node] = self._named_value(node, values)
        if not self.chain:
            raise ValueError(f"module: {type(self._module).__name__} computes nothing that is a layer here")

    def _named_value(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        """Return a node's value; what cannot be lowered is named."""
        try:
            value = self._value(node, values)
            if node.op == "output":
                if not isinstance(value, Tensor):
                    raise Refused("is not one value that layers give")
                self._use(value)
        except (ValueError, TypeError, IndexError, KeyError, AttributeError) as error:  # of a node's odd arguments
            raise ValueError(self._message(node, error)) from None
        return value

    def _message(self, node: fx.Node, error: Exception) -> str:
        stack = list(node.meta.get("nn_module_stack", {}).values())
        inside = f" in '{stack[-1][0]}'" if stack and stack[-1][0] else ""
        what = f"{getattr(node.target, '__name__', node.target)}{inside}"
        if node.op == "call_module":
            what = str(self._module.get_submodule(str(node.target)))
        name = node.target if node.op == "call_module" else node.name
        where = f"module: layer '{name}' ({what}) on shape {self.chain.shape}, input_shape {self.chain.input_shape}"
        if isinstance(error, Refused):
            return f"{where}: it {error}{TAKEN if error.elsewhere else ''}"
        return f"{where}: it has arguments that epsball does not know: {error}{TAKEN}"

    def _use(self, tensor: Tensor) -> Tensor:
        if self._written.get(tensor.memory, 0) > tensor.made:
            raise Refused("takes a value that another layer changed in place")
        self.chain.use(tensor.value)
        self._at = tensor
        return tensor

    def _changed(self, view: bool = False) -> Tensor:
        """Return the chain's value as what the node gives; `view`: torch may leave it in the memory it was in."""
        self._made += 1
        tensor = Tensor(self.chain.at, self._at.memory if view or self._in_place else self._made, self._made)
        if self._in_place:
            self._written[tensor.memory] = self._made
        return tensor

    def _attribute(self, name: str) -> Any:
        value = self._added[name] if name in self._added else operator.attrgetter(name)(self._module)
        return Attribute(name, value) if isinstance(value, torch.Tensor) else value

    # ---- nodes

    def _value(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        if node.op == "placeholder":
            if not values:
                return self._changed()
            if not node.args and not str(node.target).startswith("*"):
                raise Refused("is a second input")
            return EXTRA
        if node.op == "get_attr":
            return self._attribute(str(node.target))
        name = getattr(node.target, "__name__", str(node.target))
        self._in_place = node.op != "call_module" and name.endswith("_")
        args = fx.node.map_arg(node.args, values.__getitem__)
        kwargs = dict(fx.node.map_arg(node.kwargs, values.__getitem__))
        if any(values[n] is EXTRA for n in node.all_input_nodes):
            return EXTRA
        if node.op == "output":
            return args[0]
        if node.op == "call_module":
            layer = self._module.get_submodule(str(node.target))
            self._data((*args, *kwargs.values()))
            return self._module_call(str(node.target), layer)
        name = str(node.target) if node.op == "call_method" else KNOWN.get(node.target)
        if node.op == "call_method":
            name = str(node.target).removesuffix("_")
        elif node.target is getattr and args[1] == "shape" and isinstance(args[0], Tensor):
            return (None, *args[0].shape)
        elif not any(isinstance(a, Tensor | Attribute) for a in (*args, *kwargs.values())):
            return self._number(node, args)
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        return self._call(name, args, kwargs)

    def _number(self, node: fx.Node, args: Any) -> Any:
        """Compute with sizes; None is the number of rows, which nothing may be computed with."""
        if getattr(node.target, "__module__", "") != "_operator":
            raise Refused("has no counterpart in this version of epsball")
        return node.target(*args)  # type: ignore[operator]

    def _data(self, given: tuple[Any, ...]) -> Tensor:
        """Return the one tensor among the arguments, which must be the latest."""
        tensors = [a for a in given if isinstance(a, Tensor)]
        if len(tensors) != 1:
            raise Refused(f"takes {len(tensors)} values that depend on the input; wanted one, or the sum of two")
        return self._use(tensors[0])

    # ---- functions and methods

    def _call(self, name: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name == "size":
            sizes = (None, *args[0].shape)
            return sizes[args[1]] if len(args) > 1 else sizes
        if name == "square" or (name == "pow" and args[1:] == (2,)) or (name == "mul" and self._squares(args)):
            self._data(args[:1])
            self.chain.add(Quadratic())
            return self._changed()
        if name in ARITHMETIC and not kwargs:
            return self._arithmetic(ARITHMETIC[name], args)
        x = self._data(args)
        rest = args[1:]
        if x is not args[0]:
            raise Refused("has its arguments in an order that epsball does not know")
        if name in SAME and not rest and not kwargs:
            return x
        if name in SOFTMAXES:
            raise _probabilities(name == "log_softmax")
        if name in FUNCTIONS:
            make, names = FUNCTIONS[name]
            return self._module_call(name, make(**dict(zip(names, rest, strict=False)), **kwargs))
        if name in ("flatten", "reshape", "view", "dropout", "mean", "linear", "conv2d"):
            return getattr(self, f"_{name}")(*rest, **kwargs)
        raise Refused("has no counterpart in this version of epsball")

    def _squares(self, args: tuple[Any, ...]) -> bool:
        return len(args) == 2 and args[0] is args[1] and isinstance(args[0], Tensor)

    def _arithmetic(self, operation: str, args: tuple[Any, ...]) -> Tensor:
        if operation == "add" and all(isinstance(a, Tensor) for a in args):
            one, other = (self._use(a) for a in args)
            self.chain.join(one.value, other.value)
            self._at = one
            return self._changed()
        x = self._data(args)
        constant = args[1] if args[0] is x else args[0]
        if args[0] is not x and operation in ("sub", "div"):
            raise Refused("has the input on its right-hand side")
        if isinstance(constant, Attribute):
            if isinstance(constant.value, nn.Parameter):
                raise Refused(f"has a trained constant '{constant.name}'")
            value = constant.value.detach().cpu().double().numpy().copy()
            if constant.name not in self._added:
                self.constants[constant.name] = value
            constant = value
        self.chain.affine(operation, constant)
        return self._changed()

    def _flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        if start_dim != 1 or end_dim not in (-1, len(self.chain.shape)):
            raise Refused("does not flatten all of a row")
        self.chain.flatten()
        return self._changed(view=True)

    def _reshape(self, *shape: Any) -> Tensor:
        target = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        self.chain.reshape(tuple(target))
        return self._changed(view=True)

    _view = _reshape

    def _dropout(self, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if training and not self._module.training:
            raise Refused("drops values in eval mode, too")
        if training:
            self.chain.add(Dropout(p))
        self._in_place |= inplace
        return self._changed(view=True)

    def _mean(self, dim: Any = None, keepdim: bool = False) -> Tensor:
        axes = sorted(d % 4 for d in dim) if isinstance(dim, tuple | list) else dim
        if axes != [2, 3]:
            raise Refused("is a mean over other axes than an image's pixels")
        self.chain.average()
        if not keepdim:
            self.chain.flatten()
        return self._changed()

    def _linear(self, weight: Attribute, bias: Attribute | None = None) -> Tensor:
        if len(self.chain.shape) != 1:
            raise Refused("works on the last axis of its input alone; wanted flat inputs")
        out_features, in_features = weight.value.shape
        return self._weighted(Linear(in_features, out_features, bias is not None), weight=weight, bias=bias)

    def _conv2d(
        self,
        weight: Attribute,
        bias: Attribute | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        out_channels, in_channels, *kernel = weight.value.shape
        if groups != 1 or two("dilation", dilation, 1) != (1, 1):
            raise Refused("has groups or a dilation; wanted 1 of either")
        if padding == "same" and any(k % 2 == 0 for k in kernel):
            raise Refused("pads the two sides differently")
        if isinstance(padding, str):
            padding = tuple(k // 2 for k in kernel) if padding == "same" else 0
        size = (kernel[0], kernel[1])
        layer = Conv2d(in_channels, out_channels, size, _spread(stride), _spread(padding), bias is not None)
        return self._weighted(layer, weight=weight, bias=bias)

    def _weighted(self, layer: Linear | Conv2d, **attributes: Attribute | None) -> Tensor:
        given = {name: a for name, a in attributes.items() if a is not None}
        values = {name: to_array(a.value) for name, a in given.items()}
        self.chain.add(layer, values, {name: a.name for name, a in given.items()})
        return self._changed()

    # ---- modules

    def _module_call(self, name: str, layer: Any) -> Tensor:
        kind = type(layer)
        own = {n: Attribute(f"{name}.{n}" if name else n, t) for n, t in [*_tensors(layer)]}
        if kind is nn.Identity:
            return self._at
        if kind is nn.Flatten:
            return self._flatten(layer.start_dim, layer.end_dim)
        if kind is nn.Linear:
            return self._linear(own["weight"], own.get("bias"))
        if kind is nn.Conv2d:
            if layer.padding_mode != "zeros":
                raise Refused(f"pads with {layer.padding_mode}; wanted zeros")
            window = (layer.stride, layer.padding, layer.dilation, layer.groups)
            return self._conv2d(own["weight"], own.get("bias"), *window)
        if kind in (nn.BatchNorm1d, nn.BatchNorm2d):
            return self._batch_norm(layer, own)
        if kind is nn.AdaptiveAvgPool2d:
            size = layer.output_size
            self.chain.adaptive_average(tuple(size) if isinstance(size, tuple | list) else (size, size))
        else:
            self.chain.add(_plain(layer))
        self._in_place |= getattr(layer, "inplace", False)
        return self._changed(view=kind is nn.Dropout)

    def _batch_norm(self, layer: Any, own: dict[str, Attribute]) -> Tensor:
        if "running_mean" not in own or layer.momentum is None:
            raise Refused("keeps no exponential means of its statistics")
        ours = BatchNorm1d if type(layer) is nn.BatchNorm1d else BatchNorm2d
        names = [n for n in ("weight", "bias", "running_mean", "running_var") if n in own]
        values = {"weight": np.ones(layer.num_features), "bias": np.zeros(layer.num_features)}
        values |= {n: to_array(own[n].value) for n in names}
        if (values["running_var"] < 0).any():
            raise Refused("has a negative running variance")
        layer = ours(layer.num_features, layer.eps, layer.momentum)
        self.chain.add(layer, values, {n: own[n].name for n in names})
        return self._changed()


def _tensors(layer: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Return the layer's own parameters and buffers by name."""
    return [(n, t) for store in (layer._parameters, layer._buffers) for n, t in store.items() if t is not None]


def _spread(value: Any) -> Any:
    """Return torch's (n,) as n."""
    return value[0] if isinstance(value, tuple | list) and len(value) == 1 else value


def _plain(layer: Any) -> Any:
    """Return the counterpart of a layer without tensors."""
    kind = type(layer)
    simple: dict[type, Any] = {nn.ReLU: ReLU, nn.Sigmoid: Sigmoid, nn.Tanh: Tanh}
    if kind in simple:
        return simple[kind]()
    if kind is nn.Dropout and layer.p < 1:
        return Dropout(layer.p)
    if kind is nn.LeakyReLU and layer.negative_slope > 0:
        return LeakyReLU(layer.negative_slope)
    if kind is nn.ELU and layer.alpha > 0:
        return ELU(layer.alpha)
    if kind is nn.GELU and layer.approximate == "none":
        return GELU()
    if kind is nn.Softplus and layer.beta == 1 and layer.threshold == 20:  # linear above it, exact to float32
        return Softplus()
    window = (_spread(getattr(layer, n, None)) or None for n in ("kernel_size", "stride"))
    if kind is nn.MaxPool2d:
        if layer.ceil_mode or layer.return_indices or two("dilation", layer.dilation, 1) != (1, 1):
            raise Refused("has ceil_mode, return_indices or a dilation")
        return _pool(MaxPool2d, *window, _spread(layer.padding))
    if kind is nn.AvgPool2d:
        padded = two("padding", _spread(layer.padding), 0) != (0, 0)
        if layer.ceil_mode or layer.divisor_override is not None or (padded and not layer.count_include_pad):
            raise Refused("has ceil_mode, a divisor_override or padding that does not count")
        return _pool(AvgPool2d, *window, _spread(layer.padding))
    if kind in (nn.Softmax, nn.LogSoftmax):
        raise _probabilities(kind is nn.LogSoftmax)
    raise Refused("has no counterpart in this version of epsball")


def _probabilities(logarithms: bool) -> Refused:
    """Return why a softmax is refused; a TorchModel may end in one whose logarithm is taken, which are logits too."""
    what = "logarithms of probabilities" if logarithms else "probabilities"
    return Refused(f"gives {what} where logits belong; leave it out", elsewhere=logarithms)


def _pool(kind: Any, *window: Any) -> Any:
    try:
        return kind(*window)
    except ValueError as error:
        raise Refused(f"has a window that epsball does not know: {error}") from None
