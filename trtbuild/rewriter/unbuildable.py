"""Nodes that no rule can bring into a form the backend builds: all of them at once, and what a user can do.

The tables are what TensorRT-RTX 1.7.1 refuses, measured with ONNX's node cases (docs/node-cases.md); what TensorRT
10 and 11 have beside it is in ``_TENSORRT_HAS``. Ask after rewriting: a rule may have repaired a node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.provenance import module_path

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

RTX = "tensorrt_rtx"
LARGEST_TOP_K = 3840

_DATA_DEPENDENT = "the size of its result depends on the data"
_RANDOM = "it draws random numbers, which TensorRT does not"
_SEQUENCE = "it works on a sequence or an optional value; an engine has tensors only"
_TEXT = "it works on text; an engine has no strings"
_TRAINING = "it belongs to training"

_OUTSIDE = "compute it outside of the model, before or after it"
_MASK = "keep the full size and a mask: torch.where(mask, x, 0) instead of x[mask], or do it after the model"
_NOISE = "give the random numbers to the model as an input"
_STACK = "hand tensors on: torch.stack or torch.cat instead of a Python list that is built in a loop"

_NEVER: Mapping[str, tuple[str, str]] = {
    "NonZero": (_DATA_DEPENDENT, _MASK),
    "Unique": (_DATA_DEPENDENT, _OUTSIDE),
    "Compress": (_DATA_DEPENDENT, _MASK),
    "NonMaxSuppression": (f"{_DATA_DEPENDENT}, and TensorRT-RTX has no kernel for it", "end the model before it"),
    "Det": ("TensorRT has no determinant", "write it out for small matrices, or compute it outside of the model"),
    "Multinomial": (_RANDOM, _NOISE),
    "RandomNormal": (_RANDOM, _NOISE),
    "RandomNormalLike": (_RANDOM, _NOISE),
    "Bernoulli": (_RANDOM, _NOISE),
    "ImageDecoder": ("it decodes a file", _OUTSIDE),
    "MaxUnpool": ("TensorRT has no operator of that name", "use an upsampling or a transposed convolution"),
    "MaxRoiPool": ("TensorRT has no operator of that name", "use GridSample: torch.nn.functional.grid_sample"),
    "RoiAlign": ("it is a plugin, and TensorRT-RTX takes none", "use torch.nn.functional.grid_sample, or TensorRT"),
    "DeformConv": ("it is a plugin, and TensorRT-RTX takes none", "use grid_sample and a convolution, or TensorRT"),
    "TfIdfVectorizer": (_TEXT, _OUTSIDE),
    "StringNormalizer": (_TEXT, _OUTSIDE),
    "StringConcat": (_TEXT, _OUTSIDE),
    "StringSplit": (_TEXT, _OUTSIDE),
    "RegexFullMatch": (_TEXT, _OUTSIDE),
    "BitCast": ("TensorRT cannot read one type's bits as another's", _OUTSIDE),
    **dict.fromkeys(
        (
            "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
            "SequenceMap", "SplitToSequence", "ConcatFromSequence", "Optional", "OptionalGetElement",
            "OptionalHasElement",
        ),
        (_SEQUENCE, _STACK),
    ),
    **dict.fromkeys(("Adagrad", "Adam", "Momentum", "Gradient"), (_TRAINING, "export the model in eval() mode")),
}  # fmt: skip

_TENSORRT_HAS = {"NonZero", "NonMaxSuppression", "RoiAlign"}
"""What TensorRT 10 and 11 build although TensorRT-RTX does not: as layers, or as the plugins they ship."""

_NO_TENSORS = {
    "INT16": "int32", "UINT16": "int32", "UINT32": "int64", "UINT64": "int64", "STRING": "numbers",
    "COMPLEX64": "float32", "COMPLEX128": "float32", "FLOAT8E4M3FNUZ": "float16", "FLOAT8E5M2": "float16",
    "FLOAT8E5M2FNUZ": "float16", "FLOAT8E8M0": "float16", "UINT4": "int8", "INT2": "int8", "UINT2": "int8",
}  # fmt: skip
"""Element types that an engine's inputs and outputs cannot have, and what to hand over instead."""


@dataclass(frozen=True)
class Unbuildable:
    """A node, input or output that cannot be built.

    Attributes:
        node: Its name.
        operator: Its operator type; ``input`` or ``output`` for one of the model.
        module: Path of the PyTorch module that made it, such as ``encoder.layers.0``; empty where the exporter did not
            keep it.
        reason: Why it cannot be built.
        remedy: What the user can do instead.
    """

    node: str
    operator: str
    module: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        where = f" in {self.module}" if self.module else ""
        return f"{self.operator} {self.node!r}{where}: {self.reason}; {self.remedy}"


def unbuildable(model: ModelProto, backend: str | None = None) -> tuple[Unbuildable, ...]:
    """Everything in a model that cannot be built, subgraphs too, in the graph's order.

    Args:
        model: The model, after rewriting.
        backend: The backend it is for; without one, what is true for all of them.
    """
    constants = {t.name: t for g in onnxfile.graphs(model.graph) for t in g.initializer}
    found = [*_interface(model.graph.input, "input"), *_interface(model.graph.output, "output")]
    for graph in onnxfile.graphs(model.graph):
        found += [u for u in (_judge(node, graph, constants, backend) for node in graph.node) if u]
    return tuple(found)


def _interface(values: Any, word: str) -> Iterator[Unbuildable]:
    from onnx import TensorProto

    for value in values:
        if value.type.WhichOneof("value") != "tensor_type":
            yield Unbuildable(value.name, word, "", "it is a sequence or an optional value, not a tensor", _STACK)
            continue
        kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        if kind in _NO_TENSORS:
            yield Unbuildable(value.name, word, "", f"an engine has no tensors of {kind}", f"use {_NO_TENSORS[kind]}")


def _judge(node: NodeProto, graph: GraphProto, constants: Mapping[str, Any], backend: str | None) -> Unbuildable | None:
    if node.domain not in ("", "ai.onnx"):
        reason = f"no TensorRT operator comes from the domain {node.domain}"
        return _of(node, reason, "export with the standard operators, or do it outside of the model")
    if backend != RTX and node.op_type in _TENSORRT_HAS:
        return None
    if node.op_type in _NEVER:
        return _of(node, *_NEVER[node.op_type])
    check = _CHECKS.get(node.op_type)
    verdict = check(node, graph, constants) if check else None
    return _of(node, *verdict) if verdict else None


def _of(node: NodeProto, reason: str, remedy: str) -> Unbuildable:
    return Unbuildable(node.name or f"of {node.output[0]!r}", node.op_type, module_path(node), reason, remedy)


# ---------------------------------------------------------------------- what depends on more than the operator

_Check = Callable[["NodeProto", "GraphProto", Mapping[str, Any]], "tuple[str, str] | None"]


def _top_k(node: NodeProto, graph: GraphProto, constants: Mapping[str, Any]) -> tuple[str, str] | None:  # noqa: ARG001
    from onnx import numpy_helper

    tensor = constants.get(node.input[1])
    if tensor is None:
        return None
    k = int(numpy_helper.to_array(tensor).max(initial=0))
    if k <= LARGEST_TOP_K:
        return None
    return f"it takes the {k} largest; TensorRT takes {LARGEST_TOP_K} at most", "take fewer, or sort after the model"


def _scatter(node: NodeProto, graph: GraphProto, constants: Mapping[str, Any]) -> tuple[str, str] | None:  # noqa: ARG001
    kind = next((a.s.decode() for a in node.attribute if a.name == "reduction"), "none")
    if kind == "none":
        return None
    return (
        f"it scatters with the reduction {kind}; TensorRT overwrites only",
        "fix its sizes, so that the rule scatter_reduction applies, or use a product with a one-hot matrix",
    )


def _second_output(node: NodeProto, graph: GraphProto, constants: Mapping[str, Any]) -> tuple[str, str] | None:  # noqa: ARG001
    if len(node.output) < 2 or not node.output[1]:
        return None
    read = {name for each in onnxfile.graphs(graph) for n in each.node for name in onnxfile.reads(n)}
    read |= {o.name for o in graph.output}
    if node.output[1] not in read:
        return None
    return f"its second output {node.output[1]!r} is used, and TensorRT has the first one only", "do without it"


def _constant_bound(node: NodeProto, graph: GraphProto, constants: Mapping[str, Any]) -> tuple[str, str] | None:  # noqa: ARG001
    if node.input[1] in constants:
        return None
    return "its transform's length is computed at run time", "fix the length"


_CHECKS: Mapping[str, _Check] = {
    "TopK": _top_k,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "MaxPool": _second_output,
    "Dropout": _second_output,
    "MelWeightMatrix": _constant_bound,
}
