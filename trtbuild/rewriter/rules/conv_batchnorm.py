"""BatchNormalization after a convolution is folded into its weights.

TensorRT-RTX does not do it itself (resnet50: 71 kernels become 58), and Q/DQ must not stand between the two.

Algebra: with s = scale / sqrt(var + epsilon) of shape [M], BN(W * x + b) = (s W) * x + ((b - mean) s + bias).
Axes: Conv weights are [M, C/group, k...], s goes along axis 0. ConvTranspose weights are [C, M/group, k...], s goes
along axis 1, for group 1. The products are taken in float64.

ONNX: Conv 1 to 22, ConvTranspose 1 to 22, BatchNormalization 9 to 15 in inference mode.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("BatchNormalization",)
AFTER = ("constant_nodes", "inference_mode")


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Folds the node into the convolution that feeds it."""
    conv = graph.producer(node.inputs[0], "Conv", "ConvTranspose")
    if conv is None:
        return None
    graph.need(graph.sole_use(node.inputs[0]), "another node reads the convolution's result")
    graph.need(not node.attrs.get("training_mode"), "it is in training mode")
    constants = [t for t in (*node.inputs[1:5], *conv.inputs[1:]) if t.name]
    graph.need(all(graph.is_constant(t) for t in constants), "a weight is computed at run time")
    transposed = conv.op == "ConvTranspose"
    graph.need(not transposed or conv.attrs.get("group", 1) == 1, "a grouped ConvTranspose")
    scale, bias, mean, variance = (graph.weight(t).astype(np.float64) for t in node.inputs[1:5])
    weight = graph.weight(conv.inputs[1])
    factor = scale / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
    has_bias = len(conv.inputs) > 2 and bool(conv.inputs[2].name)
    old = graph.weight(conv.inputs[2]).astype(np.float64) if has_bias else 0.0
    along = [1] * weight.ndim
    along[1 if transposed else 0] = -1

    def fold() -> None:
        new_weight = (weight * factor.reshape(along)).astype(weight.dtype)
        new_bias = ((old - mean) * factor + bias).astype(weight.dtype)
        name = conv.inputs[1].name
        conv.inputs = [
            conv.inputs[0],
            graph.new_constant(f"{name}_bn", new_weight),
            graph.new_constant(f"{name}_bn_bias", new_bias),
        ]
        graph.absorb(node, conv)

    return Edit(f"folded into {conv.name}", fold)
