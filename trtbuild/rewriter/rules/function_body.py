"""An operator that TensorRT does not know is expanded into its ONNX function body.

Algebra: ONNX defines these operators by a function over others; the body is that definition, at the model's operator
version and for the node's own types, attributes and left-out inputs.

Measured over ONNX's node cases with TensorRT-RTX 1.7.1 (docs/node-cases.md). ``_BODIES`` lists the operators that the
parser refuses, always or under the condition given, and whose body builds. Operators that TensorRT has a layer or a
kernel for are never expanded: LayerNormalization with one output, RMSNormalization, Gelu, Softmax, GroupNormalization
and so on; the body of a normalisation would square in FP16.

ONNX: the operators' versions that have a body; Attention 23 to 26, LayerNormalization 17, the others as ``onnx`` has
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trtbuild.rewriter.graph import Edit, GraphView
from trtbuild.rewriter.splice import declared, element_type, splice

if TYPE_CHECKING:
    from onnx import FunctionProto, ModelProto, NodeProto

_BODY = "trtbuild.body"  # domain of the body while it is inlined
_INT8 = 3  # ONNX's number


def _always(node: Any, graph: GraphView) -> bool:  # noqa: ARG001
    return True


def _statistics_are_read(node: Any, graph: GraphView) -> bool:
    """TensorRT's LayerNormalization has one output."""
    return any(t.outputs or graph.is_output(t) for t in node.outputs[1:])


def _is_int8(node: Any, graph: GraphView) -> bool:  # noqa: ARG001
    """TensorRT clips floats, INT32 and INT64."""
    return element_type(node.inputs[0]) == _INT8


def _is_half(node: Any, graph: GraphView) -> bool:
    """TensorRT makes the scalar of a half-precision Celu with another rank, and then refuses it."""
    return graph.dtype(node.inputs[0]) != "float32"


_BODIES: Mapping[str, Callable[[Any, GraphView], bool]] = {
    "Attention": _always,
    "Bernoulli": _always,
    "CausalConvWithState": _always,
    "Celu": _is_half,
    "CenterCropPad": _always,
    "Clip": _is_int8,
    "LayerNormalization": _statistics_are_read,
    "LinearAttention": _always,
    "NegativeLogLikelihoodLoss": _always,
    "SoftmaxCrossEntropyLoss": _always,
    "SwiGLU": _always,
}
OPS = tuple(_BODIES)
AFTER = ("constant_nodes", "inference_mode", "attention_op")  # a lowering of its own is better than a body


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Puts the body in the node's place."""
    if not _BODIES[node.op](node, graph):
        return None
    typed = all(element_type(t) and graph.rank(t) is not None for t in node.inputs if t.name)
    graph.prefer(typed, "the type of an input is not known")
    body = _body(_proto(node, graph), [_type(t, graph) for t in node.inputs], graph.opset)
    if body is None:
        return None  # this version has none
    model = _inlined(node, graph, body)
    return Edit(f"its function body, {len(model.graph.node)} nodes", lambda: splice(graph, node, model))


def _type(tensor: Any, graph: GraphView) -> bytes:
    return declared("t", tensor, graph).type.SerializeToString() if tensor.name else b""


def _proto(node: Any, graph: GraphView) -> NodeProto:
    """The node as ONNX, inputs and outputs by number, every attribute with a default written out."""
    import onnx
    import onnx_graphsurgeon as gs

    read, made = (
        [gs.Variable(f"{word}{i}") if t.name else gs.Variable.empty() for i, t in enumerate(tensors)]
        for word, tensors in (("in", node.inputs), ("out", node.outputs))
    )
    alone = gs.Node(node.op, node.name, dict(node.attrs), read, made)
    alone_graph = gs.Graph([alone], [t for t in read if t.name], [t for t in made if t.name], opset=graph.opset)
    proto: NodeProto = gs.export_onnx(alone_graph, do_type_check=False).graph.node[0]
    given = {a.name for a in proto.attribute}
    schema = onnx.defs.get_schema(node.op, graph.opset)
    defaults = [a.default_value for a in schema.attributes.values() if a.default_value.name]
    proto.attribute.extend(d for d in defaults if d.name not in given)
    return proto


def _body(proto: NodeProto, types: list[bytes], opset: int) -> FunctionProto | None:
    """The newest body that is not newer than the model, or the operator's oldest one."""
    import onnx

    schema: Any = onnx.defs.get_schema(proto.op_type, opset)
    if schema.has_context_dependent_function:
        version = _newest(schema.context_dependent_function_opset_versions, opset)
        data = schema.get_context_dependent_function_with_opset_version(version, proto.SerializeToString(), types)
    elif schema.has_function:
        data = schema.get_function_with_opset_version(_newest(schema.function_opset_versions, opset))
    else:
        return None
    body: FunctionProto = onnx.FunctionProto.FromString(data)
    return body


def _newest(versions: list[int], opset: int) -> int:
    return max((v for v in versions if v <= opset), default=min(versions))


def _inlined(node: Any, graph: GraphView, body: FunctionProto) -> ModelProto:
    import onnx
    from onnx import helper, inliner

    proto = _proto(node, graph)
    body.domain = proto.domain = _BODY
    for entry in body.opset_import:
        entry.version = graph.opset
    inputs, outputs = (
        [declared(f"{word}{i}", t, graph) for i, t in enumerate(tensors) if t.name]
        for word, tensors in (("in", node.inputs), ("out", node.outputs))
    )
    opsets = [helper.make_opsetid("", graph.opset)]
    model = helper.make_model(
        helper.make_graph([proto], "body", inputs, outputs),
        opset_imports=[*opsets, helper.make_opsetid(_BODY, 1)],
        functions=[body],
    )
    flat = inliner.inline_local_functions(model)
    del flat.opset_import[:]
    flat.opset_import.extend(opsets)
    inferred: onnx.ModelProto = flat
    return inferred
