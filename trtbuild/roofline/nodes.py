"""What the matrix nodes of an ONNX graph do: multiply-accumulates, and what they read and write."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.matrixops import MatrixNode, matrix_nodes, multiply_accumulates, tensor_bytes
from trtbuild.onnxfile import reads
from trtbuild.roofline.rates import ELEMENT_BYTES

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

FUSED = {
    "Add", "BatchNormalization", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mul",
    "Relu", "Sigmoid", "Tanh",
}  # fmt: skip
"""Operators that TensorRT fuses into the matrix node before them, where nothing else reads its result."""


@dataclass(frozen=True)
class NodeWork:
    """What one matrix node does at one set of axis sizes.

    Attributes:
        macs: Multiply-accumulates; 0 where ONNX cannot infer the shapes.
        read: Elements of the activations; twice where the node before writes them for this one.
        weight: Elements of the weight; 0 for a product of two activations.
        written: Elements of the result; 0 where it is written for the next node, which pays.
    """

    macs: int
    read: int
    weight: int
    written: int

    def weight_bytes(self, format_name: str) -> int:
        """Bytes of the weight in a format, its scales left out."""
        return math.ceil(self.weight * ELEMENT_BYTES[format_name][1])


def matrix_work(model: ModelProto, sizes: Mapping[str, int]) -> dict[str, NodeWork]:
    """The work of every matrix node of the FP32 model.

    Args:
        model: The model.
        sizes: Size of each named axis, such as a profile's opt; 1 for one not given.
    """
    shapes = {
        v.name: [d.dim_value or sizes.get(d.dim_param, 1) for d in v.type.tensor_type.shape.dim]
        for v in model.graph.input
    }
    named = {d.dim_param: 1 for v in model.graph.input for d in v.type.tensor_type.shape.dim if d.dim_param}
    macs = multiply_accumulates(model, {**named, **sizes})
    elements = {name: size // 4 for name, size in tensor_bytes(model, shapes).items()}
    results = {n.name: n.output[0] for n in model.graph.node}
    nodes = matrix_nodes(model)
    feeder = feeders(model, nodes)
    return {
        node.name: NodeWork(
            macs=macs.get(node.name, 0),
            read=sum(elements.get(t, 0) for t in node.activations) * (2 if node.name in feeder else 1),
            weight=elements.get(node.weight, 0) if node.weight else 0,
            written=0 if node.name in feeder.values() else elements.get(results[node.name], 0),
        )
        for node in nodes
    }


def feeders(model: ModelProto, nodes: Sequence[MatrixNode]) -> dict[str, str]:
    """Weighted node to the matrix node whose result it reads, alone, through nothing but what is fused into that."""
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in reads(node):
            readers.setdefault(name, []).append(node)
    outputs = {o.name for o in model.graph.output}
    constant = {t.name for t in model.graph.initializer}
    weighted = {n.name for n in nodes if n.weight}
    results = {n.name: n.output[0] for n in model.graph.node}
    found = {}
    for feeder in nodes:
        tensor = results[feeder.name]
        while len(readers.get(tensor, ())) == 1 and tensor not in outputs:
            (reader,) = readers[tensor]
            if reader.name in weighted:
                found[reader.name] = feeder.name
                break
            if reader.op_type not in FUSED or any(t != tensor and t not in constant for t in reads(reader)):
                break
            tensor = reader.output[0]
    return found
