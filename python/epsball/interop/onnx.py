"""Models from ONNX files and to ONNX files."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epsball.arguments import flag
from epsball.model import Sequential
from epsball.reports.files import replacing

if TYPE_CHECKING:
    import onnx

__all__ = ["from_onnx", "to_onnx"]


def from_onnx(
    source: str | PathLike[str] | bytes | onnx.ModelProto,
    input_shape: SequenceOf[int] | None = None,
    drop_softmax: bool = False,
) -> Sequential:
    """Return an epsball model with the layers and weights of an ONNX graph.

    Parameters
    ----------
    source
        A file, its bytes, or a ``ModelProto``. Opset 7 or later; a chain from one input (N, ...) to one output (N, K),
        or residual blocks whose ends an Add or a Sum of two joins (`Residual`), of Gemm, MatMul with Add, Conv (one
        group, no dilation), MaxPool, AveragePool, GlobalAveragePool and ReduceMean over an image, BatchNormalization,
        Relu, LeakyRelu, Elu, Sigmoid, Tanh, Softplus, Gelu (also spelled out with Erf), Flatten and reshapes that
        flatten, Dropout, Identity, squares, and Add, Sub, Mul and Div with constants per channel, which become
        `Normalize`.
    input_shape
        Shape of one input, where the graph leaves it open.
    drop_softmax
        Leave out a Softmax or LogSoftmax at the end: epsball's models give logits.

    Returns
    -------
    Sequential
        Weights of other floating-point types become float32.

    Raises
    ------
    ImportError
        onnx is not installed.
    ValueError
        The file is no valid ONNX model, keeps its weights in other files, or has several inputs or outputs, a node
        (named in the message with its shape and the opset) that has no counterpart here, a weight that is not finite,
        or a Softmax that was not asked to be left out.
    OSError
        The file cannot be read.
    TypeError
        `source` is something else.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import checker

    from epsball.interop.onnx_graph import Lowering

    if isinstance(source, str | PathLike):
        source = Path(source).read_bytes()
    if isinstance(source, bytes):
        try:
            source = onnx.load_model_from_string(source)
        except (DecodeError, ValueError) as error:
            raise ValueError(f"source: not an ONNX model: {error}") from None
    if not isinstance(source, onnx.ModelProto):
        raise TypeError(f"source: wanted a path, bytes or an onnx ModelProto, got {type(source).__name__}")
    outside = [t.name for t in _tensors(source) if t.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise ValueError(
            f"source: '{outside[0]}' lies in another file; load it with onnx.load, which reads external data, and save "
            "it as one, or give what onnx.load returns"
        )
    try:
        checker.check_model(source)
    except checker.ValidationError as error:
        raise ValueError(f"source: not a valid ONNX model: {error}") from None
    lowering = Lowering(source, input_shape, flag("drop_softmax", drop_softmax))
    lowering.run()
    if not lowering.chain:
        raise ValueError("source: it computes nothing that is a layer here")
    return lowering.chain.model()[0]


def _tensors(proto: Any) -> list[Any]:
    """Return the initialisers and the constants of a graph."""
    constants = [a.t for node in proto.graph.node for a in node.attribute if a.HasField("t")]
    return [*proto.graph.initializer, *constants]


def to_onnx(model: Sequential, path: str | PathLike[str]) -> None:
    """Write a model as an ONNX file, of opset 20 and IR version 9, as it predicts; an existing file is replaced whole.

    Parameters
    ----------
    model
        Any epsball model.
    path
        Of the file. The graph takes x (N, ...) of the model's `input_shape` and gives the logits (N, K), float32 both.

    Raises
    ------
    ImportError
        onnx is not installed.
    OSError
        The file cannot be written.
    TypeError
        `model` is no epsball model.
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"model: wanted an epsball Sequential, got {type(model).__name__}")
    from epsball.interop.onnx_write import Writer

    content = Writer(model).proto().SerializeToString()
    with replacing(path) as temporary:
        temporary.write_bytes(content)
