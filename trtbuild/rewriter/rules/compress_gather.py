"""Compress with a constant condition becomes a Gather.

Algebra: the places where the condition holds are known, and so is their number.
Axes: along ``axis``; without one, of the flattened input. A condition shorter than the axis drops the rest.

ONNX: Compress 9 to 11, Gather 13.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Compress",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the operator."""
    condition: Any = graph.constant(node.inputs[1])
    graph.need(condition is not None, "its condition is computed: how much it keeps is not known")
    places = condition.ravel().nonzero()[0]
    graph.prefer(places.size > 0, "it keeps nothing")

    def replace() -> None:
        value = node.inputs[0]
        if "axis" not in node.attrs:
            value = graph.insert("Reshape", value, np.array([-1], np.int64), at=node)
        attrs = {"axis": node.attrs.get("axis", 0)}
        graph.substitute(node, graph.insert("Gather", value, places.astype(np.int64), at=node, attrs=attrs))

    return Edit(f"a Gather of {places.size} places", replace)
