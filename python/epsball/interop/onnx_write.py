"""A model written as an ONNX graph; imports onnx, so it is imported lazily."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import epsball
from epsball.layers import (
    ELU,
    GELU,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    Normalize,
    Quadratic,
    ReLU,
    Residual,
    Sigmoid,
    Softplus,
    Tanh,
)
from epsball.layers.base import Shape
from epsball.layers.batch_norm import BatchNorm
from epsball.layers.pool2d import Pool2d
from epsball.model import Sequential

OPSET, IR_VERSION = 20, 9  # the first opset that has Gelu, and the IR version that came with it
PLAIN = {ReLU: "Relu", Sigmoid: "Sigmoid", Tanh: "Tanh", Softplus: "Softplus", GELU: "Gelu", Flatten: "Flatten"}


class Writer:
    """Gathers the nodes and initialisers of one model."""

    def __init__(self, model: Sequential) -> None:
        self._model = model
        self._values = model.parameters()
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self._at = "x"  # the value that the next node takes

    def proto(self) -> onnx.ModelProto:
        """Return the model, checked."""
        shape = self._chain(self._model.layers, "", self._model.input_shape)
        if len(shape) > 1:  # our logits are flat
            self._node("Flatten", "Flatten")
        self._nodes[-1].output[0] = "logits"
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ("N", *dims))
            for name, dims in (("x", self._model.input_shape), ("logits", (self._model.classes,)))
        ]
        graph = helper.make_graph(self._nodes, "epsball", ends[:1], ends[1:], self._initializers)
        proto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="epsball",
            producer_version=epsball.__version__,
        )
        onnx.checker.check_model(proto, full_check=True)
        return proto

    def _chain(self, layers: Sequence[Layer], prefix: str, shape: Shape) -> Shape:
        for i, layer in enumerate(layers):
            self._layer(f"{prefix}{i}", layer, shape)
            shape = layer.output_shape(shape)
        return shape

    def _node(self, name: str, kind: str, *others: str, **attributes: Any) -> None:
        """Put a node on the value so far and the initialisers `others`."""
        self._nodes.append(helper.make_node(kind, [self._at, *others], [name], name=name, **attributes))
        self._at = name

    def _constant(self, name: str, value: Any) -> str:
        self._initializers.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def _parameters(self, place: str) -> list[str]:
        names = [name for name in self._values if name.startswith(f"{place}.")]
        return [self._constant(name, self._values[name]) for name in names]

    def _layer(self, place: str, layer: Layer, shape: Shape) -> None:
        name = f"{place}.{type(layer).__name__}"
        if isinstance(layer, Residual):
            fork, ends = self._at, []
            for part, layers in (("body", layer.body), ("shortcut", layer.shortcut)):
                self._at = fork
                self._chain(layers, f"{place}.{part}.", shape)
                ends.append(self._at)
            self._at = ends[0]
            self._node(name, "Add", ends[1])
        elif type(layer) in PLAIN:
            self._node(name, PLAIN[type(layer)])
        elif isinstance(layer, LeakyReLU):
            self._node(name, "LeakyRelu", alpha=layer.slope)
        elif isinstance(layer, ELU):
            self._node(name, "Elu", alpha=layer.alpha)
        elif isinstance(layer, Quadratic):
            self._node(name, "Mul", self._at)
        elif isinstance(layer, Dropout):
            self._node(name, "Dropout", self._constant(f"{place}.p", layer.p))
        elif isinstance(layer, Linear):
            if len(shape) > 1:  # ours takes images as they are
                self._node(f"{place}.Flatten", "Flatten")
            self._node(name, "Gemm", *self._parameters(place), transB=1)
        elif isinstance(layer, Conv2d):
            self._node(name, "Conv", *self._parameters(place), **_window(layer))
        elif isinstance(layer, Pool2d):
            counted = {"count_include_pad": 1} if layer.name == "avg_pool2d" else {}
            self._node(name, "AveragePool" if counted else "MaxPool", **_window(layer), **counted)
        elif isinstance(layer, BatchNorm):
            momentum = 1 - layer.momentum  # ONNX has the share of the past
            self._node(name, "BatchNormalization", *self._parameters(place), epsilon=layer.eps, momentum=momentum)
        elif isinstance(layer, Normalize):
            per_channel = (-1, *(1,) * (len(shape) - 1))
            for kind, field in (("Sub", "mean"), ("Div", "std")):
                value = np.reshape(getattr(layer, field), per_channel)
                self._node(f"{name}.{field}", kind, self._constant(f"{place}.{field}", value))
        else:
            raise ValueError(f"model: layer {place} ({layer}) has no counterpart in ONNX")


def _window(layer: Any) -> dict[str, Any]:
    return {"kernel_shape": layer.kernel_size, "strides": layer.stride, "pads": layer.padding * 2}
