"""A Where that asks for the contrary of a condition asks for the condition, its branches swapped.

A masked fill of attention scores is exported as Where(Not(mask), lowest, scores). No engine was seen to change by it:
it is for readers, and for rules that look for masks.

Algebra: Where(not c, a, b) = Where(c, b, a), element by element; broadcasting is the same for all three.

ONNX: Where 9 to 16, Not 1.
"""

from __future__ import annotations

from typing import Any

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Where",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Swaps the branches."""
    negation = graph.producer(node.inputs[0], "Not")
    if negation is None:
        return None
    condition, (first, second) = negation.inputs[0], node.inputs[1:3]

    def swap() -> None:
        graph.substitute(node, graph.insert("Where", condition, second, first, at=node))

    return Edit(f"asks for what {negation.name} negates", swap, (negation.name,))
