"""Sigmoid and SiLU written out with Exp become Sigmoid and x * Sigmoid(x).

x * Sigmoid(x) is what torch's exporters write for SiLU, and what TensorRT fuses; Swish came with opset 24 only.

Algebra: a / (1 + exp(-x)) = a * Sigmoid(x), for an a that is 1, x itself or anything else.
Axes: element by element; a may be broadcast.

ONNX: Div 7 to 14, Reciprocal 6 to 13, Add 7 to 14, Exp 6 to 13; Sigmoid 6 to 13.
"""

from __future__ import annotations

from typing import Any

from trtbuild.rewriter.arithmetic import is_polynomial, nodes_between, operands, plus_scalar, polynomial, scalar_beside
from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Div", "Reciprocal")
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Puts Sigmoid in the place of the node and of what its divisor is made of."""
    divisor = node.inputs[-1]
    total = plus_scalar(graph, divisor)
    power = graph.producer(total[0], "Exp") if total is not None and total[1] == 1 else None
    if power is None or graph.dtype(power.inputs[0]) != graph.dtype(node.outputs[0]):
        return None
    negative = power.inputs[0]
    x = next((t for t in operands(graph, negative)[1:] if _is_minus(graph, negative, t)), None)
    if x is None:
        return None

    def replace() -> None:
        made = graph.insert("Sigmoid", x, at=node)
        if node.op == "Div" and scalar_beside(graph, node, 0) != 1:
            made = graph.insert("Mul", node.inputs[0], made, at=node)
        graph.substitute(node, made)

    return Edit("Sigmoid", replace, nodes_between(graph, node, x, node.inputs[0]))


def _is_minus(graph: GraphView, tensor: Any, x: Any) -> bool:
    same = graph.dtype(x) == graph.dtype(tensor)
    return same and is_polynomial(polynomial(graph, tensor, x), {(1,): -1.0}, 0)
