"""An ONNX graph, lowered node by node to a chain; imports onnx, so it is imported lazily."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

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

OLDEST_OPSET = 7  # before it, broadcasting was an attribute
BATCH = -(2**40)  # the number of rows among the sizes that a graph computes with
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
# What may be computed of constants and sizes.
STATIC: dict[str, Callable[..., Any]] = {
    "Identity": lambda x: x,
    "Cast": lambda x, to=0: x,  # noqa: ARG005 - sizes stay integers, weights become float32 anyway
    "Transpose": lambda x, perm=None: np.transpose(x, perm),
    "Concat": lambda *xs, axis=0: np.concatenate(xs, axis),
    "Gather": lambda x, at, axis=0: np.take(x, at, axis),
    "Reshape": lambda x, shape: np.reshape(x, shape),
    "Unsqueeze": lambda x, at=None, axes=None: np.expand_dims(x, tuple(np.ravel(axes if at is None else at))),
    "Squeeze": lambda x, at=None, axes=None: np.squeeze(x, tuple(np.ravel(axes if at is None else at))),
    "Slice": lambda x, start, end, axes=0, steps=1: x[int(start) : int(end) : int(steps)],  # noqa: ARG005
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
}
ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
GAUSS = "Gelu of Erf"  # what stands for the last node of a GELU that is spelled out
JOIN = "Sum of two values"


class Lowering:
    """Goes from a graph's output down to its input, then grows a chain on the way up."""

    def __init__(self, model: onnx.ModelProto, input_shape: Sequence[int] | None, drop_softmax: bool) -> None:
        graph = model.graph
        domains = {o.domain: o.version for o in model.opset_import}
        self.opset = domains.get("", domains.get("ai.onnx", 0))
        self.version = f"opset {self.opset}, IR version {model.ir_version}"
        if self.opset < OLDEST_OPSET:
            raise ValueError(f"source: wanted opset {OLDEST_OPSET} or later, got {self.version}")
        self._initializers = {t.name: t for t in graph.initializer}
        inputs = [i for i in graph.input if i.name not in self._initializers]
        if len(inputs) != 1 or len(graph.output) != 1:
            names = [[i.name for i in values] for values in (inputs, graph.output)]
            raise ValueError(f"source: wanted a graph of one input and one output, got {names[0]} and {names[1]}")
        self._input, self._output = inputs[0], graph.output[0].name
        self._drop_softmax = drop_softmax
        self._nodes = list(graph.node)
        self._producers = {name: node for node in graph.node for name in node.output if name}
        self._values: dict[str, Value] = {}
        self._erf_adds: dict[str, str] = {}
        self.chain = Chain(self._input_shape() if input_shape is None else input_shape)

    def _input_shape(self) -> tuple[int, ...]:
        kind = self._input.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim]
        if kind.elem_type not in FLOATS:
            name = TensorProto.DataType.Name(kind.elem_type)
            raise ValueError(f"source: wanted floating-point inputs, got '{self._input.name}' of {name}")
        if len(dims) < 2 or min(dims[1:]) < 1:
            raise ValueError(f"input_shape: the graph leaves that of '{self._input.name}' open ({dims}); give it")
        return tuple(dims[1:])

    def run(self) -> None:
        """Lower the nodes that lead from the input to the output."""
        path = self._path()
        self._values[self._input.name] = self.chain.at
        for node, data, kind in path:
            try:
                self.chain.use(self._values[data[0]])
                self._lower(kind, node, data)
            except (Refused, TypeError, ValueError, KeyError, IndexError) as error:
                reason = error if isinstance(error, Refused) else f"has a form that epsball does not know: {error}"
                raise ValueError(f"{self._named(node)} on shape {self.chain.shape}: it {reason}") from None
            self._values[node.output[0]] = self.chain.at

    def _named(self, node: Any) -> str:
        return f"source: node '{node.name or node.output[0]}' ({node.op_type}, {self.version})"

    # ---- the way from the output to the input

    def _path(self) -> list[tuple[Any, list[str], str]]:
        """Return (node, its inputs that depend on the model's, what it is) from the input on."""
        path = []
        wanted = {self._output}
        for node in reversed(self._nodes):  # a valid graph has each behind those whose outputs it takes
            if wanted.isdisjoint(node.output):
                continue
            kind, data = node.op_type, [i for i in node.input if i and not self._is_static(i)]
            gauss = self._gauss(node)
            if gauss:
                kind, data = GAUSS, [gauss]
            if kind == "Mul" and len(data) == 2 and data[0] == data[1]:
                kind, data = "Square", data[:1]
            if kind in ("Add", "Sum") and len(data) == len(node.input) == 2:
                kind = JOIN
            elif len(data) != 1:
                raise ValueError(
                    f"{self._named(node)}: it takes {len(data)} values that depend on the input {data}; wanted one, or "
                    "the sum of two"
                )
            path.append((node, data, kind))
            wanted.update(data)
        if self._input.name not in wanted:
            raise ValueError(f"source: the output '{self._output}' does not depend on the input")
        return path[::-1]

    def _is_static(self, name: str) -> bool:
        """Whether a value is a constant or made of constants and sizes alone."""
        if name in self._initializers:
            return True
        node = self._producers.get(name)
        if node is None:
            return False
        if node.op_type in ("Constant", "Shape"):
            return True
        return (node.op_type in STATIC or node.op_type in ARITHMETIC) and all(
            self._is_static(i) for i in node.input if i
        )

    def _static(self, name: str) -> Any:
        """Return a constant, or sizes with BATCH for the number of rows."""
        if name in self._initializers:
            return numpy_helper.to_array(self._initializers[name])
        node = self._producers[name]
        attributes = _attributes(node)
        if node.op_type == "Shape":
            sizes = (BATCH, *self._values[node.input[0]].shape)
            return np.array(sizes[attributes.get("start", 0) : attributes.get("end")], np.int64)
        if node.op_type == "Constant":
            value = next(iter(attributes.values()))
            return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.array(value)
        inputs = [self._static(i) for i in node.input if i]
        if node.op_type not in ARITHMETIC:
            return STATIC[node.op_type](*inputs, **attributes)
        if any(np.asarray(i).dtype.kind == "i" for i in inputs):
            raise Refused("is reshaped by computed sizes")
        return {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[node.op_type](*inputs)

    # ---- x * 0.5 * (1 + erf(x / sqrt 2)), in any order

    def _gauss(self, node: Any) -> str | None:
        """Return x if `node` is the last of the products that make the GELU of x."""
        if node.op_type != "Mul":
            return None
        constant, others = self._factors(node.output[0])
        for i, name in enumerate(others):
            rest = others[:i] + others[i + 1 :]
            if self._erf_of(name) in rest and len(rest) == 1 and abs(constant - 0.5) < 1e-6:
                return rest[0]
        return None

    def _factors(self, name: str) -> tuple[float, list[str]]:
        """Return a product's number and its other factors."""
        node = self._producers.get(name)
        if self._is_static(name):
            value = np.asarray(self._static(name))
            return (float(value.ravel()[0]), []) if value.size == 1 else (np.nan, [])
        if (
            node is None
            or node.op_type not in ("Mul", "Div")
            or (node.op_type == "Div" and not self._is_static(node.input[1]))
        ):
            return 1.0, [name]
        (a, left), (b, right) = (self._factors(i) for i in node.input)
        return (a * b if node.op_type == "Mul" else a / b), left + right

    def _erf_of(self, name: str) -> str | None:
        """Return x if `name` is 1 + erf(x / sqrt 2)."""
        add = self._producers.get(name)
        if add is None or add.op_type != "Add":
            return None
        erf = next((n for i in add.input if (n := self._producers.get(i)) and n.op_type == "Erf"), None)
        ones = [i for i in add.input if self._is_static(i)]
        if erf is None or len(ones) != 1 or np.any(self._static(ones[0]) != 1):
            return None
        scale, inner = self._factors(erf.input[0])
        return inner[0] if len(inner) == 1 and abs(scale - 2**-0.5) < 1e-6 else None

    # ---- nodes

    def _lower(self, kind: str, node: Any, data: list[str]) -> None:
        chain, attributes = self.chain, _attributes(node)
        constants = [self._static(i) if i and self._is_static(i) else None for i in node.input]
        if node.domain not in ("", "ai.onnx"):
            raise Refused(f"is of the domain '{node.domain}'")
        if any(isinstance(v, TensorProto | onnx.GraphProto) for v in attributes.values()):
            raise Refused("has a tensor or a graph as attribute")
        plain: dict[str, Callable[[], Any]] = {
            "Relu": ReLU,
            "Sigmoid": Sigmoid,
            "Tanh": Tanh,
            "Softplus": Softplus,
            "Square": Quadratic,
            GAUSS: GELU,
            "LeakyRelu": lambda: LeakyReLU(attributes.get("alpha", 0.01)),
            "Elu": lambda: ELU(attributes.get("alpha", 1.0)),
        }
        if kind in plain:
            chain.add(plain[kind]())
        elif kind == "Identity" or (kind == "Cast" and attributes["to"] == TensorProto.FLOAT):
            return
        elif kind == JOIN:
            chain.join(*(self._values[name] for name in data))
        elif kind in ARITHMETIC:
            self._arithmetic(kind, node, data[0], constants)
        elif kind in ("Softmax", "LogSoftmax"):
            if node.output[0] != self._output or not self._drop_softmax:
                raise Refused("gives probabilities where logits belong; drop_softmax=True leaves it out at the end")
        elif f"_{kind.lower()}" in LOWERED:
            getattr(self, f"_{kind.lower()}")(attributes, constants)
        else:
            raise Refused("is not known to this version of epsball")

    def _arithmetic(self, kind: str, node: Any, data: str, constants: list[Any]) -> None:
        if kind in ("Sub", "Div") and node.input[0] != data:
            raise Refused("has the input on its right-hand side")
        constant = next(c for c in constants if c is not None)
        product, below = self.chain.at, self._producers.get(data)
        layer = product.layer
        if (
            kind == "Add"
            and isinstance(layer, Linear)
            and product.below is not None
            and not layer.bias
            and below is not None
            and below.op_type == "MatMul"
        ):  # then it is the bias of that layer
            self.chain.use(product.below)
            bias = np.broadcast_to(constant, (1, layer.out_features))[0]
            self.chain.add(Linear(layer.in_features, layer.out_features), product.values | {"bias": bias})
        else:
            self.chain.affine(ARITHMETIC[kind], constant)

    def _gelu(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        if attributes.get("approximate", "none") != "none":
            raise Refused(f"approximates ({attributes['approximate']}); wanted the exact one")
        self.chain.add(GELU())

    def _pow(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        if constants[1] is None or np.any(constants[1] != 2):
            raise Refused("is another power than 2")
        self.chain.add(Quadratic())

    def _dropout(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        given = constants[1] if len(constants) > 1 and constants[1] is not None else attributes.get("ratio", 0.5)
        if len(constants) > 2 and constants[2] is not None and np.any(constants[2]):
            raise Refused("is in training mode")
        if float(given) > 0:
            self.chain.add(Dropout(float(given)))

    def _matmul(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        if constants[0] is not None or constants[1].ndim != 2:
            raise Refused("has its weights on the left, or not as a matrix")
        self._linear(constants[1].T)

    def _gemm(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        if constants[0] is not None or attributes.get("transA", 0):
            raise Refused("has its weights on the left")
        weight = constants[1] if attributes.get("transB", 0) else constants[1].T
        bias = constants[2] if len(constants) > 2 else None
        self._linear(
            weight * attributes.get("alpha", 1.0), None if bias is None else bias * attributes.get("beta", 1.0)
        )

    def _linear(self, weight: Any, bias: Any = None) -> None:
        if len(self.chain.shape) != 1:
            raise Refused("works on the last axis of its input alone; wanted flat inputs")
        out_features, in_features = weight.shape
        values = {"weight": weight}
        if bias is not None:
            values["bias"] = np.broadcast_to(bias, (1, out_features))[0]
        self.chain.add(Linear(in_features, out_features, bias is not None), values)

    def _conv(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        weight = constants[1]
        if weight.ndim != 4:
            raise Refused(f"has weights {weight.shape}; wanted those of images")
        if attributes.get("group", 1) != 1:
            raise Refused(f"has {attributes['group']} groups; wanted one")
        values = {"weight": weight}
        if len(constants) > 2 and constants[2] is not None:
            values["bias"] = constants[2]
        out_channels, in_channels, *kernel = weight.shape
        stride, padding = self._window(attributes, kernel)
        self.chain.add(Conv2d(in_channels, out_channels, tuple(kernel), stride, padding, "bias" in values), values)

    def _maxpool(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        kernel = attributes["kernel_shape"]
        self.chain.add(MaxPool2d(tuple(kernel), *self._window(attributes, kernel)))

    def _averagepool(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        kernel = attributes["kernel_shape"]
        stride, padding = self._window(attributes, kernel)
        if padding != (0, 0) and not attributes.get("count_include_pad", 0):
            raise Refused("has padding that does not count")
        self.chain.add(AvgPool2d(tuple(kernel), stride, padding))

    def _window(self, attributes: dict[str, Any], kernel: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return (stride, padding), each (down, across)."""
        if len(kernel) != 2 or len(self.chain.shape) != 3:
            raise Refused(f"has a window {tuple(kernel)}; wanted one over images")
        if any(d != 1 for d in attributes.get("dilations", ())) or attributes.get("ceil_mode", 0):
            raise Refused("has a dilation or ceil_mode")
        down, across = attributes.get("strides", (1, 1))
        auto = attributes.get("auto_pad", "NOTSET")
        if auto.startswith("SAME"):
            totals = [
                max((-(-n // s) - 1) * s + k - n, 0)
                for n, s, k in zip(self.chain.shape[1:], (down, across), kernel, strict=True)
            ]
            pads = [t // 2 for t in totals] + [t - t // 2 for t in totals]
        else:
            pads = [0] * 4 if auto == "VALID" else list(attributes.get("pads", [0] * 4))
        if pads[:2] != pads[2:] or min(pads) < 0:
            raise Refused(f"has padding {pads} that differs between two sides")
        return (down, across), (pads[0], pads[1])

    def _globalaveragepool(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        self.chain.average()

    def _reducemean(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        axes = attributes.get("axes", constants[1] if len(constants) > 1 else None)
        if axes is None or len(self.chain.shape) != 3 or sorted(int(a) % 4 for a in axes) != [2, 3]:
            raise Refused("is a mean over other axes than an image's pixels")
        self.chain.average()
        if not attributes.get("keepdims", 1):
            self.chain.flatten()

    def _batchnormalization(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        if attributes.get("training_mode", 0) or not attributes.get("spatial", 1):
            raise Refused("is in training mode, or not per channel")
        kind = BatchNorm2d if len(self.chain.shape) == 3 else BatchNorm1d
        values = dict(zip(("weight", "bias", "running_mean", "running_var"), constants[1:5], strict=True))
        if (values["running_var"] < 0).any():
            raise Refused("has a negative variance")
        momentum = float(np.clip(1 - attributes.get("momentum", 0.9), 0, 1))
        layer = kind(len(values["weight"]), attributes.get("epsilon", 1e-5), momentum)
        self.chain.add(layer, values)

    def _flatten(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        if attributes.get("axis", 1) % (len(self.chain.shape) + 1) != 1:
            raise Refused("does not flatten all of a row")
        self.chain.flatten()

    def _reshape(self, attributes: dict[str, Any], constants: list[Any]) -> None:
        target: list[int | None] = []
        sizes = (None, *self.chain.shape)
        for i, n in enumerate(np.ravel(constants[1]).tolist()):
            keep = n == 0 and not attributes.get("allowzero", 0)
            target.append(sizes[i] if keep else None if n == BATCH else n)
        if target and target[0] == self._fixed_rows():
            target[0] = None
        self.chain.reshape(tuple(target))

    def _fixed_rows(self) -> int | None:
        """Return the number of rows that the graph was exported with, if it fixes one."""
        rows = self._input.type.tensor_type.shape.dim[:1]
        return rows[0].dim_value if rows and rows[0].HasField("dim_value") else None


LOWERED = {
    "_gelu", "_pow", "_dropout", "_matmul", "_gemm", "_conv", "_maxpool", "_averagepool", "_globalaveragepool",
    "_reducemean", "_batchnormalization", "_flatten", "_reshape",
}  # fmt: skip


def _attributes(node: Any) -> dict[str, Any]:
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: v.decode() if isinstance(v, bytes) else v for name, v in values.items()}
