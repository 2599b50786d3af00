"""RMSNorm written out (a square, its mean, a root) becomes RMSNormalization.

TensorRT computes the operator in FP32 whatever its inputs are; written out it squares in FP16, which ends at 65504.
Below opset 23 there is no such operator, and trtbuild's FP16 keeps the squares in FP32.

Algebra: RMSNormalization(x) = x / sqrt(mean(x^2) + epsilon), the mean over the last axes.
Axes: the scale is all ones over the normalised axes; the rule ``norm_scale`` takes up the factor that follows.

ONNX: RMSNormalization 23; Pow or Mul, ReduceMean, Add, Sqrt, Reciprocal or Div, Mul, Cast to FP32.
"""

from __future__ import annotations

from typing import Any

from trtbuild.rewriter.arithmetic import nodes_between, normalized, ones
from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Div", "Mul")
AFTER = ("constant_nodes", "layer_norm")


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Puts the operator in the place of the primitives that end in the node."""
    found = normalized(graph, node.outputs[0])
    if found is None:
        return None
    count = len(found.axes)
    graph.need(graph.opset >= 23, "RMSNormalization came with opset 23")
    graph.need(found.axes == tuple(range(-count, 0)), "it normalises over axes that are not the last")
    scale = ones(graph, found.base, count)
    graph.need(scale is not None, "the size of a normalised axis is not known")

    def replace() -> None:
        attributes = {"axis": -count, "epsilon": found.epsilon}
        made = graph.insert("RMSNormalization", found.base, scale, at=node, attrs=attributes)
        for constant in found.constants:
            made = graph.insert("Mul", made, constant, at=node)
        graph.substitute(node, made)

    return Edit(f"RMSNormalization over {count} axes", replace, nodes_between(graph, node, found.base))
