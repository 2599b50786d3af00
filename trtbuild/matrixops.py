"""The nodes that carry a model's matrix work: which they are, where their weights lie, how much they multiply.

Calibration exposes their inputs, precision is settled for them, and an engine's precision share is weighted by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild import onnxfile
from trtbuild.artifacts import NodePrecision

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MATRIX_OPS = ("Conv", "ConvTranspose", "MatMul", "Gemm")

_LOWEST_FIRST: tuple[NodePrecision, ...] = ("fp8", "int4", "int8", "int8_weights", "bf16", "fp16")

_TURNS = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity")


@dataclass(frozen=True)
class MatrixNode:
    """One of them.

    Attributes:
        name: Node name.
        op: Operator type.
        activations: Names of the inputs that are computed at run time.
        weight: Name of the constant weight; None for activation x activation.
        channel_axis: Axis of the weight that output channels lie along.
    """

    name: str
    op: str
    activations: tuple[str, ...]
    weight: str | None
    channel_axis: int | None


def matrix_nodes(model: ModelProto) -> list[MatrixNode]:
    """The matrix nodes of the main graph, in order."""
    weights = {t.name: tuple(t.dims) for t in model.graph.initializer}
    dequantised = _dequantised_weights(model, weights)
    weights |= dequantised
    found = []
    for node in model.graph.node:
        if node.op_type in MATRIX_OPS and node.domain in ("", "ai.onnx"):
            operands = list(node.input[:2])
            constant = operands[1] if operands[1] in weights else None
            activations = tuple(t for t in operands if t not in weights)
            axis = _channel_axis(node, weights[constant]) if constant else None
            found.append(MatrixNode(node.name, node.op_type, activations, constant, axis))
    return found


def _dequantised_weights(model: ModelProto, weights: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Weights that reach their node through a DequantizeLinear (or a Q/DQ pair), by the tensor the node reads."""
    found: dict[str, tuple[int, ...]] = {}
    for node in model.graph.node:
        source = node.input[0] if node.input else ""
        reaches = source in found or (node.op_type != "Cast" and source in weights)
        if reaches and node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast"):
            found[node.output[0]] = tuple(found[source] if source in found else weights[source])
    return found


def _channel_axis(node: NodeProto, shape: Sequence[int]) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return len(shape) - 1


def lowest_precision(precisions: Iterable[NodePrecision]) -> NodePrecision:
    """What a graph of these is said to be in: the one that the fewest targets can do; FP32 for none."""
    present = set(precisions)
    return next((p for p in _LOWEST_FIRST if p in present), "fp32")


def node_precisions(model: ModelProto) -> dict[str, NodePrecision]:
    """What each matrix node of a typed graph computes in, read from the graph itself.

    Where both operands come from a DequantizeLinear, that is the type the activation is stored in. Where only a weight
    does, it is what the weight is stored in (``int8_weights``, ``int4``). Any other node computes in the element type
    of its first input, and in FP32 where ONNX cannot infer that. Products of integers are left out.
    """
    from onnx import TensorProto

    words: dict[int, NodePrecision] = {
        TensorProto.FLOAT16: "fp16",
        TensorProto.BFLOAT16: "bf16",
        TensorProto.FLOAT: "fp32",
        TensorProto.DOUBLE: "fp32",
        TensorProto.UNDEFINED: "fp32",
    }
    both: dict[int, NodePrecision] = {TensorProto.INT8: "int8", TensorProto.FLOAT8E4M3FN: "fp8"}
    weight_only: dict[int, NodePrecision] = {TensorProto.INT8: "int8_weights", TensorProto.INT4: "int4"}
    types = onnxfile.element_types(model)
    behind = _stored_types(model, types)
    found: dict[str, NodePrecision] = {}
    for node in model.graph.node:
        if node.op_type in MATRIX_OPS and node.domain in ("", "ai.onnx"):
            first, second = (behind.get(name) for name in node.input[:2])
            kind = types.get(node.input[0], TensorProto.UNDEFINED)
            if first is not None and second is not None and first.element in both:
                found[node.name] = both[first.element]
            elif (weight := _lone_weight(first, second)) in weight_only:
                found[node.name] = weight_only[weight]
            elif kind in words:
                found[node.name] = words[kind]
    return found


@dataclass(frozen=True)
class _Stored:
    """What a tensor was before a DequantizeLinear: its ONNX element type, and whether it is a weight."""

    element: int
    weight: bool


def _stored_types(model: ModelProto, types: Mapping[str, int]) -> dict[str, _Stored]:
    """Tensors that come out of a DequantizeLinear; a Cast may follow, and a weight may be turned or reshaped too."""
    constant = {t.name for t in model.graph.initializer}
    found: dict[str, _Stored] = {}
    for node in model.graph.node:
        source = node.input[0] if node.input else ""
        if node.op_type == "QuantizeLinear" and source in constant:
            constant.add(node.output[0])
        elif node.op_type == "DequantizeLinear":
            found[node.output[0]] = _Stored(types.get(source, 0), source in constant)
        elif source in found and (node.op_type == "Cast" or (node.op_type in _TURNS and found[source].weight)):
            found[node.output[0]] = found[source]
    return found


def _lone_weight(first: _Stored | None, second: _Stored | None) -> int | None:
    """The element type a weight is stored in, where the other operand is not quantised."""
    lone = second if first is None else first if second is None else None
    return lone.element if lone is not None and lone.weight else None


def multiply_accumulates(model: ModelProto, sizes: Mapping[str, int]) -> dict[str, int]:
    """Multiply-accumulates of each matrix node at one set of axis sizes.

    Args:
        model: The model, with its weights.
        sizes: Size of each named axis.

    Returns:
        Node name to its count; nodes whose shapes ONNX cannot infer are missing.
    """
    shapes = _shapes_at(model, sizes)
    found = {}
    for node in model.graph.node:
        if node.op_type not in MATRIX_OPS:
            continue
        a, b, out = (shapes.get(name) for name in (node.input[0], node.input[1], node.output[0]))
        if a is None or b is None or out is None:
            continue
        if node.op_type == "Conv":
            found[node.name] = math.prod(out) * math.prod(b[1:])
        elif node.op_type == "ConvTranspose":
            found[node.name] = math.prod(a) * math.prod(b[1:])
        else:
            flipped = any(t.name == "transA" and t.i for t in node.attribute)
            found[node.name] = math.prod(out) * (a[0] if flipped else a[-1])
    return found


def tensor_bytes(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Bytes of every tensor at given shapes of the inputs, four an element; those ONNX cannot infer are missing.

    Args:
        model: The model, with or without its weights.
        shapes: Input name to its shape.
    """
    return {name: 4 * math.prod(shape) for name, shape in tensor_shapes(model, shapes).items()}


def tensor_shapes(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor at given shapes of the inputs; those ONNX cannot infer are missing.

    Args:
        model: The model, with or without its weights.
        shapes: Input name to its shape.
    """
    return _shapes_at(model, axis_sizes(model, shapes))


def axis_sizes(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Sizes of the named axes at given shapes of the inputs."""
    return {
        dim.dim_param: size
        for value in model.graph.input
        if value.name in shapes
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True)
        if dim.dim_param
    }


def _shapes_at(model: ModelProto, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Every shape that ONNX can infer once the named axes have sizes."""
    light = onnxfile.without_weights(model)
    for value in light.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    del light.graph.value_info[:]
    for output in light.graph.output:
        output.type.tensor_type.ClearField("shape")
    known = {t.name: tuple(t.dims) for t in model.graph.initializer}
    for value in onnxfile.inferred(light):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            known[value.name] = tuple(d.dim_value for d in dims)
    return known
