"""GELU written out with Erf or Tanh becomes Gelu.

One node to place Q/DQ around; of the tanh form the cube leaves FP16 at 40.

Algebra: Gelu(x) = x (1 + erf(x / sqrt 2)) / 2, and with approximate="tanh"
x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, in any order of factors and terms.
Axes: element by element.

ONNX: Gelu 20; Erf 9 to 13, Tanh 6 to 13, Mul, Div, Add, Pow, Cast to FP32.
"""

from __future__ import annotations

import math
from typing import Any

from trtbuild.rewriter.arithmetic import Polynomial, is_polynomial, nodes_between, operands, polynomial
from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Mul", "Div", "Add")
AFTER = ("constant_nodes",)
_ROOT = math.sqrt(2 / math.pi)
_INSIDE: dict[str, Polynomial] = {"Erf": {(1,): math.sqrt(0.5)}, "Tanh": {(1,): _ROOT, (3,): 0.044715 * _ROOT}}


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Puts the operator in the place of the primitives that end in the node."""
    result = node.outputs[0]
    for gate in operands(graph, result):
        maker = graph.producer(gate, "Erf", "Tanh")
        if maker is None:
            continue
        for x in operands(graph, maker.inputs[0]):
            like = 1e-5 if graph.dtype(x) == "float32" else 1e-3  # its constants are rounded to the type
            fits = (
                graph.dtype(x) == graph.dtype(result) is not None
                and is_polynomial(polynomial(graph, maker.inputs[0], x), _INSIDE[maker.op], like)
                and is_polynomial(polynomial(graph, result, x, gate), {(1, 0): 0.5, (1, 1): 0.5}, like)
            )
            if fits:
                return _edit(node, graph, x, "none" if maker.op == "Erf" else "tanh")
    return None


def _edit(node: Any, graph: GraphView, x: Any, approximate: str) -> Edit:
    graph.need(graph.opset >= 20, "Gelu came with opset 20")

    def replace() -> None:
        graph.substitute(node, graph.insert("Gelu", x, at=node, attrs={"approximate": approximate}))

    return Edit(f"Gelu, approximate={approximate}", replace, nodes_between(graph, node, x))
