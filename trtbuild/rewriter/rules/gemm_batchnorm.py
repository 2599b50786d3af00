"""BatchNormalization after a Gemm is folded into its weights.

Algebra: with s = scale / sqrt(var + epsilon) of shape [M], BN(alpha A B + beta C) = alpha A (B s) + ((beta C - mean)
s + bias). The products are taken in float64; the new bias has beta 1.
Axes: B is [K, M], or [M, K] with transB; s goes along M. C is broadcast to [N, M] and must be the same in every row.

ONNX: Gemm 7 to 13, BatchNormalization 9 to 15 in inference mode.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("BatchNormalization",)
AFTER = ("constant_nodes", "inference_mode")


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Folds the node into the Gemm that feeds it."""
    gemm = graph.producer(node.inputs[0], "Gemm")
    if gemm is None:
        return None
    graph.need(graph.sole_use(node.inputs[0]), "another node reads the Gemm's result")
    graph.need(not node.attrs.get("training_mode"), "it is in training mode")
    constants = [t for t in (*node.inputs[1:5], *gemm.inputs[1:]) if t.name]
    graph.need(all(graph.is_constant(t) for t in constants), "a weight is computed at run time")
    scale, bias, mean, variance = (graph.weight(t).astype(np.float64) for t in node.inputs[1:5])
    weight = graph.weight(gemm.inputs[1])
    factor = scale / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
    has_bias = len(gemm.inputs) > 2 and bool(gemm.inputs[2].name)
    old = gemm.attrs.get("beta", 1.0) * graph.weight(gemm.inputs[2]).astype(np.float64) if has_bias else np.zeros(1)
    graph.need(old.ndim < 2 or old.shape[0] == 1, "the Gemm adds another bias to each row")

    def fold() -> None:
        along = factor[:, None] if gemm.attrs.get("transB", 0) else factor
        new_bias = np.broadcast_to((old - mean) * factor + bias, (1, len(factor)))[0]
        name = gemm.inputs[1].name
        gemm.attrs["beta"] = 1.0
        gemm.inputs = [
            gemm.inputs[0],
            graph.new_constant(f"{name}_bn", (weight * along).astype(weight.dtype)),
            graph.new_constant(f"{name}_bn_bias", new_bias.astype(weight.dtype)),
        ]
        graph.absorb(node, gemm)

    return Edit(f"folded into {gemm.name}", fold)
