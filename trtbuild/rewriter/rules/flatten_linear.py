"""A linear layer on four or more axes works on a matrix: TensorRT then takes the bias and the GELU into the product.

FP16 kernels: a small ConvNeXt's 34 become 30, SAM's 128 become 124. With three axes, which TensorRT fuses as they are,
nothing is won.

Algebra: a product with a matrix goes row by row, so the axes before the last may be one. Axes: [..., in] becomes
[rows, in]; the weight is [in, out], the bias [out].

ONNX: MatMul 1 to 13, Add 7 to 14, Reshape 5 to 25.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("MatMul",)
AFTER = ("constant_nodes", "qkv_merge", "gelu")


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Makes one axis of all but the last."""
    tensor, weight = node.inputs
    shape = graph.shape(tensor)
    if shape is None or len(shape) < 4 or not graph.is_constant(weight) or len(weight.shape) != 2:
        return None
    add = graph.only_reader(node.outputs[0], "Add")
    if add is None:
        return None
    operands = graph.with_constant(add)
    bias = None if operands is None else graph.along_axis(operands[1], len(shape) - 1, node.outputs[0])
    graph.prefer(bias is not None, "what is added is no bias")
    rows, width = shape[:-1], int(weight.shape[1])

    def flatten() -> None:
        flat = graph.insert("Reshape", tensor, np.array([-1, weight.shape[0]], np.int64), at=node, name="rows")
        product = graph.insert("Add", graph.insert("MatMul", flat, weight, at=node), bias, at=add)
        unknown = [i for i, size in enumerate(rows) if not isinstance(size, int)]
        if len(unknown) < 2 and 0 not in rows:
            to: Any = np.array([*(-1 if i in unknown else d for i, d in enumerate(rows)), width], np.int64)
        else:
            before = graph.insert("Shape", tensor, at=node, attrs={"end": len(rows)})
            to = graph.insert("Concat", before, np.array([width], np.int64), at=node, attrs={"axis": 0})
        result = graph.insert("Reshape", product, to, at=add)
        result.shape = [*rows, width]
        graph.substitute(add, result)

    return Edit("on a matrix", flatten, (add.name,))
