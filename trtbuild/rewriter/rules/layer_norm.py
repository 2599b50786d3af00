"""LayerNorm written out (means, a square, a root) becomes LayerNormalization.

TensorRT computes the operator in FP32 whatever its inputs are. Written out it squares in FP16, which ends at 65504: at
a standard deviation of 100 every output is zero. trtbuild's own FP16 keeps the squares in FP32, at the price of Casts.

Algebra: with d = x - mean(x), LayerNormalization(x) = d / sqrt(mean(d^2) + epsilon), both means over the last axes.
Axes: the scale is all ones over the normalised axes; the rule ``norm_scale`` takes up the factor and the bias that
follow.

ONNX: LayerNormalization 17; ReduceMean 1 to 18, Sub, Pow or Mul, Add, Sqrt, Div or Reciprocal and Mul, Cast to FP32;
or Sub and RMSNormalization 23.
"""

from __future__ import annotations

from typing import Any

from trtbuild.rewriter.arithmetic import Normalized, mean, nodes_between, normalized, ones, uncast
from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Div", "Mul", "RMSNormalization")
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Puts the operator in the place of the primitives that end in the node."""
    found = _fused(node, graph) if node.op == "RMSNormalization" else normalized(graph, node.outputs[0])
    centred = graph.producer(uncast(graph, found.base), "Sub") if found else None
    if found is None or centred is None:
        return None
    x = centred.inputs[0]
    average = mean(graph, centred.inputs[1])
    if (
        average is None
        or uncast(graph, average[0]) is not uncast(graph, x)
        or graph.dtype(x) != graph.dtype(found.base)
    ):
        return None
    count = len(found.axes)
    graph.need(average[1] == found.axes, "the two means are taken over different axes")
    graph.need(found.axes == tuple(range(-count, 0)), "it normalises over axes that are not the last")
    graph.need(graph.opset >= 17, "LayerNormalization came with opset 17")
    scale = node.inputs[1] if node.op == "RMSNormalization" else ones(graph, x, count)
    graph.need(scale is not None, "the size of a normalised axis is not known")

    def replace() -> None:
        made = graph.insert("LayerNormalization", x, scale, at=node, attrs={"axis": -count, "epsilon": found.epsilon})
        for constant in found.constants:
            made = graph.insert("Mul", made, constant, at=node)
        graph.substitute(node, made)

    return Edit(f"LayerNormalization over {count} axes", replace, nodes_between(graph, node, x))


def _fused(node: Any, graph: GraphView) -> Normalized | None:
    """RMSNormalization of what may be centred: at opset 23 onnxsim leaves LayerNorm like this."""
    axis, rank = node.attrs.get("axis", -1), graph.rank(node.inputs[0])
    if axis >= 0 and rank is None:
        return None
    count = -axis if axis < 0 else (rank or 0) - axis
    return Normalized(node.inputs[0], tuple(range(-count, 0)), node.attrs.get("epsilon", 1e-5), ())
