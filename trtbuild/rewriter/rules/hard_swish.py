"""HardSwish written out with Clip or HardSigmoid becomes HardSwish.

Algebra: HardSwish(x) = x clip(x + 3, 0, 6) / 6 = x HardSigmoid(x; 1/6, 1/2), in any order of factors.
Axes: element by element.

ONNX: HardSwish 14; Clip 6 to 13 (min and max were attributes before 11), HardSigmoid 6 to 22, Mul, Div, Add.
"""

from __future__ import annotations

import math
from typing import Any

from trtbuild.rewriter.arithmetic import is_polynomial, nodes_between, operands, polynomial
from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Mul", "Div")
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Puts the operator in the place of the primitives that end in the node."""
    result = node.outputs[0]
    for gate in operands(graph, result):
        maker = graph.producer(gate, "Clip", "HardSigmoid")
        if maker is None:
            continue
        for x in operands(graph, maker.inputs[0]):
            share = _share(maker, x, graph)
            same = graph.dtype(x) == graph.dtype(result) is not None
            if same and share and is_polynomial(polynomial(graph, result, x, gate), {(1, 1): share}):
                return _edit(node, graph, x)
    return None


def _edit(node: Any, graph: GraphView, x: Any) -> Edit:
    graph.need(graph.opset >= 14, "HardSwish came with opset 14")

    def replace() -> None:
        graph.substitute(node, graph.insert("HardSwish", x, at=node))

    return Edit("HardSwish", replace, nodes_between(graph, node, x))


def _share(maker: Any, x: Any, graph: GraphView) -> float | None:
    """What the gate times x must be multiplied with to make HardSwish; None where the gate is another one."""
    inside = polynomial(graph, maker.inputs[0], x)
    if maker.op == "HardSigmoid":
        sixth, half = maker.attrs.get("alpha", 0.2), maker.attrs.get("beta", 0.5)
        fits = math.isclose(sixth, 1 / 6, rel_tol=1e-5) and math.isclose(half, 0.5) and is_polynomial(inside, {(1,): 1})
        return 1.0 if fits else None
    low, high = (
        graph.scalar(maker.inputs[i]) if len(maker.inputs) > i else maker.attrs.get(key)
        for i, key in ((1, "min"), (2, "max"))
    )
    return 1 / 6 if (low, high) == (0, 6) and is_polynomial(inside, {(1,): 1, (0,): 3}) else None
