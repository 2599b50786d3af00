"""ReduceMax and ReduceMin of booleans are taken over integers.

TensorRT reduces numbers only.

Algebra: the largest of 0 and 1 is 1 where any is; the smallest is 1 where all are. Of no elements at all they are the
lowest and the highest integer, and so false and true, as for booleans.

ONNX: ReduceMax and ReduceMin 20 (earlier ones take no booleans).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("ReduceMax", "ReduceMin")
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Reduces 0 and 1, and compares with 0."""
    if graph.dtype(node.inputs[0]) != "bool":
        return None

    def replace() -> None:
        number = graph.insert("Cast", node.inputs[0], at=node, attrs={"to": np.int32})
        read = [number, *(t if t.name else None for t in node.inputs[1:])]
        made = graph.insert(node.op, *read, at=node, attrs=node.attrs)
        graph.substitute(node, graph.insert("Greater", made, np.array(0, np.int32), at=node))

    return Edit("over integers", replace)
