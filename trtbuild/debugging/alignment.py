"""Which tensors of two graphs are the same one, and the parts of the subject between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.emulation import MADE_UP
from trtbuild.onnxfile import element_types, reads

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

CONVERSIONS = ("Cast", "QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Segment:
    """The part of the subject that makes one tensor from the ones before it that the reference has too.

    Attributes:
        tensor: What it makes, by the subject's name.
        reference: The same tensor's name in the reference.
        nodes: Its nodes, in order; the last one makes the tensor.
        reads: Tensors of the subject it begins at: paired ones, graph inputs and weights.
        begins: Of those, the paired ones, to their names in the reference.
        weights: Of those, the constants.
    """

    tensor: str
    reference: str
    nodes: tuple[NodeProto, ...]
    reads: tuple[str, ...]
    begins: Mapping[str, str]
    weights: frozenset[str]

    @property
    def main(self) -> NodeProto:
        """The node it is named after: the last one that is no conversion."""
        return next((n for n in reversed(self.nodes) if n.op_type not in CONVERSIONS), self.nodes[-1])


def pairs(reference: ModelProto, subject: ModelProto) -> dict[str, str]:
    """Float tensors that both graphs compute: the subject's name to the reference's.

    They are paired by name, or by the name of the node that makes them: writing precision keeps both as a rule. What
    does not depend on an input is left out, and so is what conversions make.
    """
    floats = {"float32", "float16", "bfloat16", "float64"}
    mine, theirs = _kinds(subject), _kinds(reference)
    by_node = {n.name: n for n in reference.graph.node if n.name}
    made_there = {t for n in reference.graph.node for t in n.output}
    live_here, live_there = _live(subject), _live(reference)
    makers = {t: n for n in subject.graph.node for t in n.output}
    found: dict[str, str] = {}
    for node in subject.graph.node:
        for index, name in enumerate(node.output):
            if name not in live_here or mine.get(name) not in floats or name.endswith(MADE_UP):
                continue
            maker = makers.get(node.input[0], node) if node.name == f"{name}/round" else node
            twin = by_node.get(maker.name)
            other = None
            if name in made_there:
                other = name
            elif maker.op_type not in CONVERSIONS and twin is not None and twin.op_type == maker.op_type:
                place = list(maker.output).index(node.input[0]) if maker is not node else index
                other = twin.output[place] if place < len(twin.output) else None
            if other in live_there and theirs.get(other) in floats and other not in found.values():
                found[name] = str(other)
    return found


def segments(subject: ModelProto, paired: Mapping[str, str]) -> list[Segment]:
    """The segment of every paired tensor, in the subject's order."""
    maker = {t: node for node in subject.graph.node for t in node.output if t}
    constants = {t.name for t in subject.graph.initializer}
    order = {id(node): number for number, node in enumerate(subject.graph.node)}
    found = []
    for node in subject.graph.node:
        for name in node.output:
            if name in paired:
                nodes, begins = _back_to(name, paired, maker)
                ordered = tuple(sorted(nodes, key=lambda n: order[id(n)]))
                own = {b: paired[b] for b in begins if b in paired}
                fixed = frozenset(b for b in begins if b in constants)
                found.append(Segment(name, paired[name], ordered, begins, own, fixed))
    return found


def _back_to(
    name: str, paired: Mapping[str, str], maker: Mapping[str, NodeProto]
) -> tuple[list[NodeProto], tuple[str, ...]]:
    nodes: dict[int, NodeProto] = {}
    begins: dict[str, None] = {}
    waiting = [maker[name]]
    while waiting:
        node = waiting.pop()
        if id(node) in nodes:
            continue
        nodes[id(node)] = node
        for read in reads(node):
            if read in paired and read != name:
                begins[read] = None
            elif read in maker:
                waiting.append(maker[read])
            elif read:
                begins[read] = None
    return list(nodes.values()), tuple(begins)


def nodes_between(model: ModelProto, wanted: Sequence[str], begins: Sequence[str]) -> list[NodeProto]:
    """The nodes of a graph that make some tensors out of others, in order."""
    maker = {t: node for node in model.graph.node for t in node.output if t}
    needed: set[int] = set()
    waiting = [maker[t] for t in wanted if t in maker]
    while waiting:
        node = waiting.pop()
        if id(node) not in needed:
            needed.add(id(node))
            waiting += [maker[t] for t in reads(node) if t in maker and t not in begins]
    return [n for n in model.graph.node if id(n) in needed]


def _live(model: ModelProto) -> set[str]:
    """Tensors that depend on a graph input."""
    live = {v.name for v in model.graph.input} - {t.name for t in model.graph.initializer}
    for node in model.graph.node:
        if any(t in live for t in reads(node)):
            live |= {t for t in node.output if t}
    return live


def _kinds(model: ModelProto) -> dict[str, str]:
    from onnx import TensorProto

    words: dict[int, str] = {
        TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16",
        TensorProto.DOUBLE: "float64",
    }  # fmt: skip
    return {name: words.get(kind, "") for name, kind in element_types(model).items()}
