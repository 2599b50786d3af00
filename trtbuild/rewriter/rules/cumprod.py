"""CumProd becomes products with shifted copies of itself.

Algebra: after multiplying by the copy shifted by 1, by 2, by 4 and so on, each element is the product of all up to it.
Exclusive shifts once more; reverse shifts to the other side. What comes in at the edge is 1.
Axes: along the axis of input 1, a constant, of a known size; all others stay dynamic.

ONNX: CumProd 26.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("CumProd",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the operator."""
    x, axis = node.inputs[0], graph.scalar(node.inputs[1])
    shape: Any = graph.shape(x)
    graph.need(axis is not None, "its axis is not constant")
    graph.need(shape is not None, "the rank is not known")
    along = int(axis or 0) % len(shape)
    size = shape[along]
    graph.need(isinstance(size, int), "the size of the axis is not known")
    back = bool(node.attrs.get("reverse"))

    def replace() -> None:
        value, step = x, 1
        if node.attrs.get("exclusive"):
            value = _shifted(node, graph, value, along, 1, back=back)
        while step < size:
            value = graph.insert("Mul", value, _shifted(node, graph, value, along, step, back=back), at=node)
            step *= 2
        graph.substitute(node, value if value is not x else graph.insert("Identity", x, at=node))

    return Edit(f"products with shifted copies, along {size}", replace)


def _shifted(node: Any, graph: GraphView, value: Any, axis: int, step: int, *, back: bool) -> Any:
    """The tensor moved by ``step`` along the axis, ones coming in."""
    rank = graph.rank(value) or 0
    pads = [0] * (2 * rank)
    pads[axis + (rank if back else 0)] = step
    padded = graph.insert("Pad", value, np.array(pads, np.int64), np.array(1, graph.dtype(value)), at=node)
    start, end = (step, np.iinfo(np.int64).max) if back else (0, -step)
    places = [np.array([n], np.int64) for n in (start, end, axis)]
    return graph.insert("Slice", padded, *places, at=node)
