"""DynamicQuantizeLinear becomes the arithmetic that defines it.

TensorRT has no operator of that name, and its quantiser takes no zero point that is computed.

Algebra: with low = min(0, min x) and high = max(0, max x), scale = (high - low) / 255, zero = round(-low / scale) and
y = clip(round(x / scale) + zero, 0, 255); rounding is to even.
Axes: over all elements, of any shape.

ONNX: DynamicQuantizeLinear 11.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("DynamicQuantizeLinear",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the operator."""
    return Edit("its arithmetic", lambda: _replace(node, graph))


def _replace(node: Any, graph: GraphView) -> None:
    x = node.inputs[0]
    nothing, top = np.array(0, np.float32), np.array(255, np.float32)
    low = graph.insert("Min", graph.insert("ReduceMin", x, at=node, attrs={"keepdims": 0}), nothing, at=node)
    high = graph.insert("Max", graph.insert("ReduceMax", x, at=node, attrs={"keepdims": 0}), nothing, at=node)
    scale = graph.insert("Div", graph.insert("Sub", high, low, at=node), top, at=node)
    exact = graph.insert("Div", graph.insert("Neg", low, at=node), scale, at=node)
    zero = graph.insert("Round", graph.insert("Clip", exact, nothing, top, at=node), at=node)
    steps = graph.insert("Round", graph.insert("Div", x, scale, at=node), at=node)
    y = graph.insert("Clip", graph.insert("Add", steps, zero, at=node), nothing, top, at=node)
    results = [graph.insert("Cast", t, at=node, attrs={"to": np.uint8}) for t in (y, zero)]
    graph.substitute(node, results[0], scale, results[1])
