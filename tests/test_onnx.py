"""eb.from_onnx and eb.to_onnx: the logits of onnxruntime, round trips, and errors that name the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epsball as eb
from cases import batch

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from test_to_torch import MODELS, filled  # noqa: E402

RTOL = 1e-5  # relative to the largest logit


def runtime(proto: Any, x: Any) -> Any:
    """The logits that onnxruntime gives."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = proto if isinstance(proto, bytes) else proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def close(actual: Any, wanted: Any) -> None:
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=RTOL * np.abs(wanted).max())


@pytest.mark.parametrize("name", MODELS)
def test_files_give_the_same_logits_and_come_back(name: str, tmp_path: Path) -> None:
    model = filled(name)
    path = tmp_path / "model.onnx"
    eb.to_onnx(model, path)
    proto = onnx.load(path)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 20)]
    assert proto.ir_version == 9
    assert proto.producer_name == "epsball"
    x = batch(6, int(np.prod(model.input_shape))).reshape(6, *model.input_shape)
    close(model(x), runtime(proto, x))
    again = eb.from_onnx(path)
    assert again.input_shape == model.input_shape
    for ours, value in zip(model.parameters().values(), again.parameters().values(), strict=True):
        np.testing.assert_array_equal(value, ours)
    close(again(x), model(x))


RNG = np.random.default_rng(0)


def weights(*shape: int) -> Any:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def graph(nodes: list[Any], shape: tuple[Any, ...], opset: int = 17, out: str = "y", **values: Any) -> Any:
    """A model from x (N, *shape) to `out` with initialisers."""
    initializers = [numpy_helper.from_array(np.asarray(v), n) for n, v in values.items()]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", *shape)),
        helper.make_tensor_value_info(out, TensorProto.FLOAT, None),
    ]
    g = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers)
    model = helper.make_model(g, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)  # the output's shape is required
    if not model.graph.output[0].type.tensor_type.HasField("shape"):
        model.graph.output[0].type.tensor_type.shape.dim.add()
    return model


def node(kind: str, *inputs: str, to: str = "y", **attributes: Any) -> Any:
    name = f"the_{kind}" if to in ("y", "z") else f"makes_{to}"  # names are unique in a graph
    return helper.make_node(kind, list(inputs), [to], name=name, **attributes)


F32, I64 = np.float32, np.int64
FLAT = {
    "gemm": ([node("Gemm", "x", "w", "b")], {"w": weights(4, 3), "b": weights(3)}),
    "gemm_scaled": ([node("Gemm", "x", "w", "b", transB=1, alpha=0.5, beta=2.0)],
                    {"w": weights(3, 4), "b": weights(1, 3)}),
    "matmul_add": ([node("MatMul", "x", "w", to="h"), node("Add", "b", "h")], {"w": weights(4, 3), "b": weights(3)}),
    "matmul": ([node("MatMul", "x", "w")], {"w": weights(4, 3)}),
    "matmul_transposed": ([node("Transpose", "w", to="wt", perm=[1, 0]), node("MatMul", "x", "wt")],
                          {"w": weights(3, 4)}),
    "norm": ([node("BatchNormalization", "x", "s", "b", "m", "v", epsilon=1e-3)],
             {"s": weights(4), "b": weights(4), "m": weights(4), "v": np.abs(weights(4))}),
    "constants": ([node("Sub", "x", "m", to="h"), node("Div", "h", "s")], {"m": weights(4), "s": F32([1, 2, 3, 4])}),
    "more_constants": ([node("Mul", "two", "x", to="h"), node("Add", "h", "m")], {"two": F32(2), "m": weights(1, 4)}),
    "relu": ([node("Relu", "x")], {}),
    "leaky_relu": ([node("LeakyRelu", "x", alpha=0.3)], {}),
    "leaky_relu_default": ([node("LeakyRelu", "x")], {}),
    "elu": ([node("Elu", "x", alpha=0.4)], {}),
    "sigmoid": ([node("Sigmoid", "x")], {}),
    "tanh": ([node("Tanh", "x")], {}),
    "softplus": ([node("Softplus", "x")], {}),
    "square": ([node("Mul", "x", "x")], {}),
    "add": ([node("Relu", "x", to="h"), node("Add", "x", "h")], {}),
    "sum": ([node("Relu", "x", to="h"), node("Sum", "h", "x")], {}),
    "add_both": ([node("Gemm", "x", "w", to="h"), node("MatMul", "x", "v", to="p"), node("Add", "p", "b", to="q"),
                  node("Add", "h", "q")], {"w": weights(4, 3), "v": weights(4, 3), "b": weights(3)}),
    "double": ([node("Add", "x", "x")], {}),
    "power": ([node("Pow", "x", "two")], {"two": F32(2)}),
    "identity": ([node("Identity", "x", to="h"), node("Relu", "h")], {}),
    "dropout": ([node("Dropout", "x", "p", to="h"), node("Relu", "h")], {"p": F32(0.3)}),
    "gelu_of_erf": ([node("Div", "x", "r", to="a"), node("Erf", "a", to="e"), node("Add", "e", "one", to="s"),
                     node("Mul", "x", "s", to="p"), node("Mul", "p", "half")],
                    {"r": F32(2**0.5), "one": F32(1), "half": F32(0.5)}),
    "gelu_of_halves": ([node("Mul", "x", "r", to="a"), node("Erf", "a", to="e"), node("Add", "one", "e", to="s"),
                        node("Mul", "x", "half", to="h"), node("Mul", "h", "s")],
                       {"r": F32(2**-0.5), "one": F32(1), "half": F32(0.5)}),
    "constant_node": ([node("Constant", to="c", value=numpy_helper.from_array(F32(0.5))), node("Sub", "x", "c")], {}),
}  # fmt: skip
IMAGES = {
    "conv": ([node("Conv", "x", "w", "b", strides=[2, 1], pads=[1, 0, 1, 0])],
             {"w": weights(3, 2, 3, 2), "b": weights(3)}),
    "conv_same": ([node("Conv", "x", "w", auto_pad="SAME_UPPER")], {"w": weights(3, 2, 3, 5)}),
    "conv_valid": ([node("Conv", "x", "w", auto_pad="VALID")], {"w": weights(3, 2, 3, 3)}),
    "max_pool": ([node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])], {}),
    "max_pool_default": ([node("MaxPool", "x", kernel_shape=[2, 2])], {}),
    "average_pool": ([node("AveragePool", "x", kernel_shape=[2, 2])], {}),
    "average_pool_padded": ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)], {}),
    "global_average_pool": ([node("GlobalAveragePool", "x")], {}),
    "reduce_mean": ([node("ReduceMean", "x", axes=[2, 3], keepdims=0)], {}),
    "norm": ([node("BatchNormalization", "x", "s", "b", "m", "v")],
             {"s": weights(2), "b": weights(2), "m": weights(2), "v": np.abs(weights(2))}),
    "constants": ([node("Sub", "x", "m", to="h"), node("Div", "h", "s")],
                  {"m": weights(2, 1, 1), "s": F32([[[[1]], [[2]]]])}),
    "flatten": ([node("Flatten", "x", to="z"), node("Relu", "z")], {}),
    "reshape": ([node("Reshape", "x", "to", to="z"), node("Relu", "z")], {"to": I64([0, -1])}),
    "reshape_72": ([node("Reshape", "x", "to", to="z"), node("Relu", "z")], {"to": I64([-1, 72])}),
    "reshape_by_shape": ([node("Shape", "x", to="s"), node("Gather", "s", "zero", to="n"),
                          node("Unsqueeze", "n", "zeros", to="u"), node("Concat", "u", "rest", to="to", axis=0),
                          node("Reshape", "x", "to", to="z"), node("Relu", "z")],
                         {"zero": I64(0), "zeros": I64([0]), "rest": I64([-1])}),
}  # fmt: skip
CASES = {f"flat_{n}": ((4,), *c) for n, c in FLAT.items()} | {f"images_{n}": ((2, 6, 6), *c) for n, c in IMAGES.items()}


@pytest.mark.parametrize("name", CASES)
def test_nodes_agree_with_onnxruntime(name: str) -> None:
    shape, nodes, values = CASES[name]
    proto = graph(nodes, shape, **values)
    x = batch(5, int(np.prod(shape)), low=-1.0).reshape(5, *shape)
    wanted = runtime(proto, x)
    for source in (proto, proto.SerializeToString()):
        close(eb.from_onnx(source)(x), wanted.reshape(5, -1))


def slopes(proto: Any, x: Any) -> Any:
    """Central differences (N, K, *input_shape) of the graph computed in float64 by ONNX's reference implementation."""
    wide = onnx.ModelProto.FromString(proto.SerializeToString())
    tensors = [*wide.graph.initializer, *(a.t for n in wide.graph.node for a in n.attribute if n.op_type == "Constant")]
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    evaluator = ReferenceEvaluator(wide)

    def logits(x: Any) -> Any:
        return evaluator.run(None, {"x": x})[0].reshape(len(x), -1)

    x, step = x.astype(np.float64), 1e-5
    columns = []
    for i in range(x[0].size):
        up, down = x.copy(), x.copy()
        up.reshape(len(x), -1)[:, i] += step
        down.reshape(len(x), -1)[:, i] -= step
        columns.append((logits(up) - logits(down)) / (2 * step))
    return np.stack(columns, axis=-1).reshape(len(x), -1, *x.shape[1:])


@pytest.mark.parametrize("name", [n for n in CASES if "gelu" not in n])  # whose Erf the reference rounds to float32
def test_input_gradients_of_nodes_are_the_slopes_of_their_reference(name: str) -> None:
    shape, nodes, values = CASES[name]
    proto = graph(nodes, shape, **values)
    x = np.random.default_rng(3).uniform(-1, 1, (5, *shape)).astype(F32)  # no two values alike, none at a kink
    close(eb.from_onnx(proto).jacobian(x), slopes(proto, x))


def test_gelu_of_opset_20_agrees() -> None:
    proto = graph([node("Gelu", "x")], (4,), opset=20)
    close(eb.from_onnx(proto)(batch(5, 4, low=-2.0)), runtime(proto, batch(5, 4, low=-2.0)))


BAD = {
    "op": ((4,), [node("Sin", "x")], {}, r"'the_Sin' \(Sin, opset 17, IR version 8\) on shape \(4,\)"),
    "product": ((4,), [node("Relu", "x", to="h"), node("Mul", "x", "h")], {}, "takes 2 values"),
    "broadcast": ((2, 6, 6), [node("GlobalAveragePool", "x", to="h"), node("Add", "x", "h")], {}, "values of shapes"),
    "from_inside": ((4,), [node("Relu", "x", to="h"), node("Add", "x", "h", to="s"), node("Add", "s", "h")], {},
                    "inside a residual block"),
    "minus": ((4,), [node("Sub", "c", "x")], {"c": F32(1)}, "right-hand side"),
    "width": ((4,), [node("Gemm", "x", "w")], {"w": weights(5, 3)}, r"'the_Gemm'.*\(4,\).*takes 5 features"),
    "images": ((2, 4), [node("MatMul", "x", "w")], {"w": weights(4, 3)}, "flat inputs"),
    "nan": ((4,), [node("Gemm", "x", "w")], {"w": np.full((4, 3), np.nan, F32)}, r"'the_Gemm'.*not finite"),
    "groups": ((2, 6, 6), [node("Conv", "x", "w", group=2)], {"w": weights(2, 1, 3, 3)}, r"'the_Conv'.*2 groups"),
    "pads": ((2, 6, 6), [node("Conv", "x", "w", pads=[1, 0, 0, 0])], {"w": weights(2, 2, 3, 3)}, "padding"),
    "same": ((2, 6, 6), [node("Conv", "x", "w", auto_pad="SAME_LOWER")], {"w": weights(2, 2, 2, 2)}, "padding"),
    "ceil": ((2, 6, 6), [node("MaxPool", "x", kernel_shape=[2, 2], ceil_mode=1)], {}, "ceil_mode"),
    "uncounted": ((2, 6, 6), [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4)], {}, "does not count"),
    "softmax": ((4,), [node("Softmax", "x")], {}, "drop_softmax=True"),
    "transpose": ((2, 6, 6), [node("Transpose", "x", perm=[0, 2, 3, 1])], {}, "'the_Transpose'"),
    "reshape": ((4,), [node("Reshape", "x", "to")], {"to": I64([-1, 2])}, "mixes rows"),
    "mean": ((2, 6, 6), [node("ReduceMean", "x", axes=[1])], {}, "other axes"),
    "per_pixel": ((2, 6, 6), [node("Sub", "x", "m")], {"m": weights(6, 6)}, "within a channel"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_lowered_is_named(name: str) -> None:
    shape, nodes, values, why = BAD[name]
    with pytest.raises(ValueError, match=rf"^source: node .*{why}"):
        eb.from_onnx(graph(nodes, shape, **values))


def test_softmax_at_the_end_is_left_out_on_request_only_there() -> None:
    w = weights(4, 3)
    proto = graph([node("Gemm", "x", "w", to="z"), node("Softmax", "z")], (4,), w=w)
    x = batch(5, 4)
    close(eb.from_onnx(proto, drop_softmax=True)(x), x @ w)
    inside = graph([node("Softmax", "x", to="z"), node("Gemm", "z", "w")], (4,), w=w)
    with pytest.raises(ValueError, match="'the_Softmax'"):
        eb.from_onnx(inside, drop_softmax=True)


def test_models_that_are_no_chain_or_not_whole_are_refused(tmp_path: Path) -> None:
    two = graph([node("Relu", "x")], (4,))
    two.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ("N", 4)))
    with pytest.raises(ValueError, match="one input and one output"):
        eb.from_onnx(two)
    with pytest.raises(ValueError, match=r"wanted opset 7.*opset 6"):
        eb.from_onnx(graph([node("Relu", "x")], (4,), opset=6))
    outside = graph([node("Gemm", "x", "w")], (4,), w=weights(4, 3))
    path = tmp_path / "outside.onnx"
    onnx.save(outside, path, save_as_external_data=True, size_threshold=0)
    with pytest.raises(ValueError, match="'w' lies in another file"):
        eb.from_onnx(path)
    close(eb.from_onnx(onnx.load(path))(batch(3, 4)), runtime(onnx.load(path), batch(3, 4)))
    with pytest.raises(ValueError, match="source: it computes nothing"):
        eb.from_onnx(graph([node("Identity", "x")], (4,)))
    with pytest.raises(ValueError, match="not an ONNX model"):
        eb.from_onnx(b"no model at all")
    with pytest.raises(FileNotFoundError):
        eb.from_onnx(tmp_path / "none.onnx")
    with pytest.raises(TypeError, match="source: wanted"):
        eb.from_onnx(3)


def test_open_shapes_are_asked_for() -> None:
    proto = graph([node("Relu", "x")], ("channels", 4))
    with pytest.raises(ValueError, match=r"^input_shape: .*'x'"):
        eb.from_onnx(proto)
    assert eb.from_onnx(proto, input_shape=(3, 4)).input_shape == (3, 4)


def test_to_onnx_takes_models_only(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="model: wanted an epsball Sequential"):
        eb.to_onnx(object(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # newer torch has another exporter, which is larger
@pytest.mark.parametrize("opset", [11, 17, 20])
def test_what_torch_exports_agrees(opset: int, tmp_path: Path) -> None:
    """The exporter that traces: it needs no onnxscript."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 6), nn.GELU(), nn.Dropout(0.2), nn.Linear(6, 3),
    ).eval()  # fmt: skip
    path = tmp_path / "torch.onnx"
    torch.onnx.export(
        module,
        (torch.rand(2, 3, 8, 8),),
        path,
        input_names=["x"],
        dynamic_axes={"x": {0: "n"}},
        opset_version=opset,
        dynamo=False,
    )
    x = batch(5, 192).reshape(5, 3, 8, 8)
    close(eb.from_onnx(path)(x), module(torch.from_numpy(x)).detach().numpy())
    close(eb.from_onnx(path)(x), runtime(path.read_bytes(), x))
