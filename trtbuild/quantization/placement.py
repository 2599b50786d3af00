"""Where Q/DQ pairs go in a graph, found by its structure. What numbers they get is another matter.

TensorRT wants pairs at the inputs of the weighted operators, and nowhere else but one place: where a convolution adds a
residual, the other summand is read in INT8 too, so that convolution, sum and activation become one kernel. Nothing is
quantised between a convolution and its ReLU, before Softmax, LayerNormalization or GELU. Biases stay in float. Products
of two activations (attention) stay in float: quantising them costs more accuracy than it saves time. What the model's
own Q/DQ pairs already quantise (from quantisation-aware training, or another tool) is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.matrixops import MatrixNode, matrix_nodes
from trtbuild.onnxfile import reads

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_ELEMENTWISE = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSwish", "Mul", "MaxPool", "Identity")


@dataclass(frozen=True)
class QuantizedNode:
    """A weighted node that can be quantised.

    Attributes:
        node: Node name.
        op: Operator type.
        activation: The tensor it computes on.
        weight: Its constant weight.
        axis: Axis of the weight that output channels lie along; None where there is no single one that TensorRT takes.
        reduced_axis: Axis of the weight that is summed over, for formats with a scale a block.
    """

    node: str
    op: str
    activation: str
    weight: str
    axis: int | None
    reduced_axis: int


@dataclass(frozen=True)
class QuantizedSummand:
    """The summand of an Add that a quantised convolution adds to its result.

    Attributes:
        node: The Add.
        tensor: The other summand.
        conv: The convolution that the sum becomes part of.
    """

    node: str
    tensor: str
    conv: str


@dataclass(frozen=True)
class Placement:
    """Where pairs can go.

    Attributes:
        nodes: Weighted nodes, in the graph's order.
        summands: Residuals of convolutions.
        kept: Matrix node that stays in float, to the reason.
    """

    nodes: tuple[QuantizedNode, ...]
    summands: tuple[QuantizedSummand, ...]
    kept: Mapping[str, str]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The activations that need a range, each once."""
        return tuple(dict.fromkeys([*(n.activation for n in self.nodes), *(s.tensor for s in self.summands)]))

    def only(self, names: Sequence[str] | set[str]) -> Placement:
        """The same with some of the nodes, and the residuals of those."""
        chosen = set(names)
        left = {n.node: "asked to stay in float" for n in self.nodes if n.node not in chosen}
        return Placement(
            tuple(n for n in self.nodes if n.node in chosen),
            tuple(s for s in self.summands if s.conv in chosen),
            {**self.kept, **left},
        )


def place(model: ModelProto) -> Placement:
    """Finds every place of a model where TensorRT wants a Q/DQ pair.

    Args:
        model: The FP32 model, its weights in memory or on disk; it may hold Q/DQ pairs already.
    """
    weights = {t.name: t for t in model.graph.initializer}
    already = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    nodes: list[QuantizedNode] = []
    kept: dict[str, str] = {}
    for node in matrix_nodes(model):
        if node.activations and set(node.activations) <= already:
            continue  # quantised where the model was made
        reason = _why_not(node, weights)
        if reason or node.weight is None or node.channel_axis is None:
            kept[node.name] = reason or "it has no constant weight"
            continue
        rank = len(weights[node.weight].dims)
        # a stack of matrices has no single output channel axis that TensorRT quantises along
        axis = node.channel_axis if rank == 2 or node.op.startswith("Conv") else None
        reduced = {"Conv": 1, "ConvTranspose": 0, "Gemm": 1 - node.channel_axis}.get(node.op, max(rank - 2, 0))
        nodes.append(QuantizedNode(node.name, node.op, node.activations[0], node.weight, axis, reduced))
    return Placement(tuple(nodes), tuple(_summands(model, nodes, already)), kept)


def _why_not(node: MatrixNode, weights: Mapping[str, TensorProto]) -> str | None:
    from onnx import TensorProto

    if node.weight is None:
        return "a product of two activations" if len(node.activations) == 2 else "its activation is the second operand"
    if not node.activations:
        return "a product of two weights"
    if node.weight not in weights or weights[node.weight].data_type != TensorProto.FLOAT:
        return "its weight is not FP32"
    return None


def _summands(model: ModelProto, nodes: Sequence[QuantizedNode], already: set[str]) -> list[QuantizedSummand]:
    """The other summand, wherever a quantised convolution's only reader is an Add whose sum is quantised again."""
    order = {node.output[0]: (number, node) for number, node in enumerate(model.graph.node) if node.output}
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in reads(node):
            readers.setdefault(name, []).append(node)
    outputs = {o.name for o in model.graph.output}
    constant = {t.name for t in model.graph.initializer}
    convs = {n.node for n in nodes if n.op == "Conv"}
    read_again = {n.activation for n in nodes}
    found = []
    for node in model.graph.node:
        if node.op_type != "Add" or not _quantised_after(node.output[0], readers, read_again):
            continue
        made = [
            (order[name][0], order[name][1].name, index)
            for index, name in enumerate(node.input)
            if name in order and order[name][1].name in convs and len(readers[name]) == 1 and name not in outputs
        ]
        if not made:
            continue
        _, conv, index = max(made)  # of two convolutions the later one adds: the other's result is there by then
        other = node.input[1 - index]
        if other not in constant and other not in already:
            found.append(QuantizedSummand(node.name, other, conv))
    return found


def _quantised_after(tensor: str, readers: Mapping[str, Sequence[NodeProto]], quantised: set[str]) -> bool:
    """Whether a sum reaches a quantised node through nothing but activations and pooling."""
    pending, seen = [tensor], {tensor}
    while pending:
        name = pending.pop()
        if name in quantised:
            return True
        for node in readers.get(name, ()):
            if node.op_type in _ELEMENTWISE and node.output[0] not in seen:
                seen.add(node.output[0])
                pending.append(node.output[0])
    return False
