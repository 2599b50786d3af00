"""Dropout and BatchNormalization left in training mode become what they are at inference.

TensorRT refuses both in training mode ("does not support the Dropout operator in training mode"); exporters leave them
when a module was in train() mode.

Algebra: Dropout(x) = x at inference. BatchNormalization(x) = scale * (x - mean) / sqrt(var + epsilon) + bias, with the
running mean and variance, inputs 3 and 4, all of shape [C].

ONNX: Dropout 7 to 22 (from 12 on, ``training_mode`` is input 2), BatchNormalization 7 to 15 (from 14 on,
``training_mode`` is an attribute and outputs 1 and 2 are the running statistics).
"""

from __future__ import annotations

from typing import Any

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Dropout", "BatchNormalization")
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Drops a Dropout, or takes a BatchNormalization out of training mode."""
    unused = not any(graph.is_output(t) or t.outputs for t in node.outputs[1:])
    graph.need(unused, "its second output is used")
    if node.op == "Dropout":
        return Edit("dropped: it is the identity at inference", lambda: graph.bypass(node, node.inputs[0]))
    if not node.attrs.get("training_mode"):
        return None

    def to_inference() -> None:
        node.attrs["training_mode"] = 0
        graph.drop_outputs(node, 1)

    return Edit("takes the running mean and variance instead of the batch's", to_inference)
