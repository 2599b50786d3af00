"""Mod of floats with the divisor's sign becomes Mod with the dividend's sign and a correction.

TensorRT's Mod of floats is C's fmod only.

Algebra: with r = fmod(x, y), the result is r + y where r and y have opposite signs, else r. A zero has x's sign.

ONNX: Mod 28 (before it, floats need ``fmod`` = 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Mod",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the Mod."""
    dtype = graph.dtype(node.inputs[0])
    if dtype is None or dtype.kind != "f" or node.attrs.get("fmod"):
        return None
    x, y = node.inputs[:2]

    def replace() -> None:
        left = graph.insert("Mod", x, y, at=node, attrs={"fmod": 1})
        zero = np.array(0, dtype)
        below, negative = (graph.insert("Less", t, zero, at=node) for t in (left, y))
        apart = graph.insert("Xor", below, negative, at=node)
        left_over = graph.insert("Not", graph.insert("Equal", left, zero, at=node), at=node)
        wrong = graph.insert("And", apart, left_over, at=node)
        graph.substitute(node, graph.insert("Where", wrong, graph.insert("Add", left, y, at=node), left, at=node))

    return Edit("fmod, and the divisor added where the signs differ", replace)
