"""Cuts an ONNX graph into parts, about as TensorRT cuts it into kernels.

A matrix node is one part, with the activation functions after it. What else lies between matrix nodes is one part for
all that is connected: it reads what comes in and writes what leaves. Where attention is fused, one of them is one part
too: its scores stay inside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild import onnxfile
from trtbuild.matrixops import MATRIX_OPS, tensor_shapes
from trtbuild.roofline.nodes import FUSED, NodeWork, matrix_work

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_WRITTEN_IN_GRAPH = {"QuantizeLinear", "DequantizeLinear", "Cast"}
_FREE = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Size", "Constant", "Dropout"}
"""Operators that move nothing."""


@dataclass(frozen=True)
class Part:
    """Some nodes that make one kernel, about.

    Attributes:
        nodes: Their names.
        read: Tensors that are computed elsewhere.
        held: Constants.
        written: Tensors that others read.
        macs: Multiply-accumulates.
        work: The roofline's own view of a single matrix node; None for anything else.
    """

    nodes: tuple[str, ...]
    read: tuple[str, ...]
    held: tuple[str, ...]
    written: tuple[str, ...]
    macs: int = 0
    work: NodeWork | None = None


def named(model: ModelProto) -> ModelProto:
    """The model with a name of its own for every node: that of what it makes, where it has none or shares it."""
    from onnx import ModelProto

    counts = Counter(node.name for node in model.graph.node)
    if not counts[""] and max(counts.values(), default=1) == 1:
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if not node.name or counts[node.name] > 1:
            node.name = node.output[0]
    return copy


class Graph:
    """A model at one set of sizes, cut into parts.

    Attributes:
        axes: Names of its dynamic axes.
        shapes: Tensor to its shape; those that ONNX cannot infer are missing.
        types: Tensor to its ONNX element type.
        work: Matrix node to what it does.
        unsized: Nodes with a tensor whose shape is not known.
    """

    def __init__(self, model: ModelProto, sizes: Mapping[str, int]) -> None:
        """Infers the shapes.

        Args:
            model: The model; every node has a name of its own.
            sizes: Size of each named axis; 1 for one not given.
        """
        graph = model.graph
        dims = [d for v in graph.input for d in v.type.tensor_type.shape.dim]
        self.axes = list(dict.fromkeys(d.dim_param for d in dims if d.dim_param))
        given = {
            v.name: [d.dim_value or sizes.get(d.dim_param, 1) for d in v.type.tensor_type.shape.dim]
            for v in graph.input
        }
        self.shapes = tensor_shapes(model, given)
        self.types = onnxfile.element_types(model)
        self.work = matrix_work(model, sizes)
        self.nodes = [n for n in graph.node if n.op_type != "Constant"]
        self.unsized = {n.name for n in self.nodes if any(t and t not in self.shapes for t in (*n.input, *n.output))}
        self._constant = {t.name for t in graph.initializer}
        self._constant |= {n.output[0] for n in graph.node if n.op_type == "Constant"}
        self._outputs = {o.name for o in graph.output}
        self._products = {n.output[0]: n for n in self.nodes if n.op_type in MATRIX_OPS}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(onnxfile.reads(node)):
                self._readers.setdefault(name, []).append(node)

    def weighted(self) -> list[str]:
        """Matrix nodes with a constant weight."""
        return [name for name, work in self.work.items() if work.weight]

    def rest(self) -> str:
        """What most of the graph's float tensors are in."""
        from onnx import TensorProto

        words = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
        made = [self.types.get(t, 0) for n in self.nodes if n.op_type not in _WRITTEN_IN_GRAPH for t in n.output]
        counts = {word: made.count(kind) for kind, word in words.items()}
        return max(counts, key=lambda word: counts[word])

    def parts(self, *, fused_attention: bool) -> list[Part]:
        """Matrix nodes, attentions and what lies between, in the graph's order."""
        groups = self._groups()
        inside: set[str] = set()
        found: dict[str, Part] = {}
        for group in groups:
            part = self._attention(group) if fused_attention else None
            if part is None and not self._absorbed(group):
                part = self._part(group)
            if part is not None:
                found[part.nodes[0]] = part
                inside |= set(part.nodes)
        for node in self.nodes:
            if node.name in self.work and node.name not in inside:
                part = self._part([node], work=self.work[node.name])
                found |= {node.name: part} if part else {}
        order = {n.name: number for number, n in enumerate(self.nodes)}
        return sorted(found.values(), key=lambda part: order[part.nodes[0]])

    def _groups(self) -> list[list[NodeProto]]:
        """Connected nodes between matrix nodes: those with as many matrix nodes before them, joined by a tensor."""
        depth: dict[str, int] = {}
        group_of: dict[str, int] = {}  # tensor to the group that makes it
        groups: dict[int, list[NodeProto]] = {}
        for number, node in enumerate(self.nodes):
            read = onnxfile.reads(node)
            here = max((depth.get(t, 0) for t in read), default=0)
            matrix = node.op_type in MATRIX_OPS
            depth |= dict.fromkeys(node.output, here + matrix)
            if matrix:
                continue
            joined = sorted({group_of[t] for t in read if t in group_of and depth[t] == here})
            home = max(joined, key=lambda g: len(groups[g]), default=number)
            for other in joined:
                if other != home:
                    group_of |= {t: home for n in groups[other] for t in n.output}
                    groups[home] = groups.get(home, []) + groups.pop(other)
            groups.setdefault(home, []).append(node)
            group_of |= dict.fromkeys(node.output, home)
        order = {n.name: number for number, n in enumerate(self.nodes)}
        return [sorted(group, key=lambda n: order[n.name]) for group in groups.values()]

    def _part(self, nodes: Sequence[NodeProto], *, work: NodeWork | None = None) -> Part | None:
        if all(n.op_type in _FREE | _WRITTEN_IN_GRAPH for n in nodes) and work is None:
            return None
        made = {t for n in nodes for t in n.output}
        taken = [t for t in dict.fromkeys(t for n in nodes for t in onnxfile.reads(n)) if t not in made]
        return Part(
            nodes=tuple(n.name for n in nodes),
            read=tuple(t for t in taken if t not in self._constant),
            held=tuple(t for t in taken if t in self._constant),
            written=tuple(t for n in nodes for t in n.output if self._leaves(t, nodes)),
            macs=work.macs if work else 0,
            work=work,
        )

    def _leaves(self, tensor: str, nodes: Sequence[NodeProto]) -> bool:
        own = {n.name for n in nodes}
        return tensor in self._outputs or any(r.name not in own for r in self._readers.get(tensor, ()))

    def _absorbed(self, group: Sequence[NodeProto]) -> bool:
        """Whether a group is nothing but the activation function of one matrix node."""
        part = self._part(group)
        return (
            part is not None
            and all(n.op_type in FUSED | _FREE | _WRITTEN_IN_GRAPH for n in group)
            and len(part.read) == 1
            and len(part.written) == 1
            and self._made_by(part.read[0]) is not None
            and all(r in group for r in self._readers[part.read[0]])
        )

    def _made_by(self, tensor: str) -> NodeProto | None:
        return self._products.get(tensor)

    def _attention(self, group: Sequence[NodeProto]) -> Part | None:
        """Scores, softmax and the product with the values as one part; None where the group has another form."""
        if not any(n.op_type == "Softmax" for n in group):
            return None
        part = self._part(group)
        scores = [n for t in (part.read if part else ()) if (n := self._made_by(t)) and not self._has_weight(n)]
        readers = [r for t in (part.written if part else ()) for r in self._readers.get(t, ())]
        if part is None or len(scores) != 1 or len(readers) != 1 or readers[0].op_type != "MatMul":
            return None
        if self._has_weight(readers[0]) or not all(r in group for r in self._readers[scores[0].output[0]]):
            return None
        whole = self._part([scores[0], *group, readers[0]])
        macs = sum(self.work[n.name].macs for n in (scores[0], readers[0]))
        return None if whole is None else Part(whole.nodes, whole.read, whole.held, whole.written, macs)

    def _has_weight(self, node: NodeProto) -> bool:
        return node.name not in self.work or self.work[node.name].weight > 0
