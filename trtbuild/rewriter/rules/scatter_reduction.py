"""A scatter with a reduction becomes a masked reduction over the updates.

TensorRT's ScatterElements and ScatterND overwrite only.

Algebra: with R rows of data, U updates and hit[r, u] = (row of update u is r), the result is
data[r] (op) reduce over u of (hit[r, u] ? update[u] : neutral), where neutral is 0 for add, 1 for mul, -inf for max and
inf for min (the smallest and largest number for integers). Several updates of one row are all taken, as ONNX says. A
negative index counts from the end.
Axes: ScatterND's first k axes become one of R; ScatterElements' axis becomes the last. All sizes must be known. The
mask has R * U * (elements of a row) elements, so this is for small scatters.

ONNX: ScatterElements 16 to 18, ScatterND 16 to 18.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("ScatterElements", "ScatterND")
AFTER = ("constant_nodes",)
_LARGEST = 1 << 24  # elements of the masked updates
_KINDS = {
    "add": ("ReduceSum", "Add"), "mul": ("ReduceProd", "Mul"), "max": ("ReduceMax", "Max"), "min": ("ReduceMin", "Min"),
}  # fmt: skip


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the scatter."""
    kind = node.attrs.get("reduction", "none")
    if kind not in _KINDS:
        return None
    shapes: Any = [graph.shape(t) for t in node.inputs]
    graph.need(all(s is not None and all(isinstance(d, int) for d in s) for s in shapes), "a size is not known")
    data, indices = list(shapes[0]), list(shapes[1])
    graph.prefer(graph.opset >= 18, "the reductions take their axes as inputs from opset 18 on")
    graph.prefer(str(graph.dtype(node.inputs[0])) in _NEUTRAL, "no neutral element is known for its element type")
    if node.op == "ScatterND":
        depth = indices[-1]
        rows, width, number = prod(data[:depth]), prod(data[depth:]), prod(indices[:-1])
        graph.prefer(rows * width * number <= _LARGEST, "the masked updates would be large")
        return Edit(f"a masked reduction over {number} updates", lambda: _nd(node, graph, kind, data, depth))
    axis = node.attrs.get("axis", 0) % len(data)
    beside = [d for i, d in enumerate(data) if i != axis]
    same = beside == [d for i, d in enumerate(indices) if i != axis]
    graph.need(same, "the updates do not cover the other axes")
    graph.prefer(prod(data) * indices[axis] <= _LARGEST, "the masked updates would be large")
    return Edit(f"a masked reduction over {indices[axis]} updates", lambda: _elements(node, graph, kind, data, axis))


_NEUTRAL = {
    dtype: {"add": 0, "mul": 1, "max": low, "min": high}
    for dtype, low, high in (
        ("float32", -np.inf, np.inf),
        ("float16", -np.inf, np.inf),
        ("int32", np.iinfo(np.int32).min, np.iinfo(np.int32).max),
        ("int64", np.iinfo(np.int64).min, np.iinfo(np.int64).max),
    )
}


def _reduced(node: Any, graph: GraphView, kind: str, hit: Any, updates: Any, data: Any, axis: int) -> Any:
    dtype = graph.dtype(data)
    reduce, combine = _KINDS[kind]
    neutral = np.array(_NEUTRAL[str(dtype)][kind], dtype)
    masked = graph.insert("Where", hit, updates, neutral, at=node)
    total = graph.insert(reduce, masked, np.array([axis], np.int64), at=node, attrs={"keepdims": 0})
    return graph.insert(combine, data, total, at=node)


def _from_the_front(node: Any, graph: GraphView, indices: Any, sizes: Any) -> Any:
    """Indices with the negative ones counted from the front."""
    dtype = graph.dtype(indices)
    negative = graph.insert("Less", indices, np.array(0, dtype), at=node)
    shifted = graph.insert("Add", indices, np.asarray(sizes, dtype), at=node)
    return graph.insert("Where", negative, shifted, indices, at=node)


def _nd(node: Any, graph: GraphView, kind: str, shape: list[int], depth: int) -> None:
    data, indices, updates = node.inputs
    sizes = np.array(shape[:depth], np.int64)
    rows, width = int(sizes.prod()), prod(shape[depth:])
    steps = np.array([prod(shape[i + 1 : depth]) for i in range(depth)], np.int64)
    places = _from_the_front(node, graph, indices, sizes)
    along = graph.insert("Mul", places, steps, at=node)
    flat = graph.insert("ReduceSum", along, np.array([-1], np.int64), at=node, attrs={"keepdims": 0})
    row = graph.insert("Reshape", flat, np.array([1, -1, 1], np.int64), at=node)
    hit = graph.insert("Equal", row, np.arange(rows).reshape(-1, 1, 1), at=node)  # [R, U, 1]
    each = graph.insert("Reshape", updates, np.array([1, -1, width], np.int64), at=node)
    plain = graph.insert("Reshape", data, np.array([rows, width], np.int64), at=node)
    result = _reduced(node, graph, kind, hit, each, plain, 1)
    graph.substitute(node, graph.insert("Reshape", result, np.array(shape, np.int64), at=node))


def _elements(node: Any, graph: GraphView, kind: str, shape: list[int], axis: int) -> None:
    order = [i for i in range(len(shape)) if i != axis] + [axis]
    data, indices, updates = (_moved(node, graph, t, order) for t in node.inputs)
    places = _from_the_front(node, graph, indices, shape[axis])
    last = np.array([-1], np.int64)
    hit = graph.insert(
        "Equal",
        graph.insert("Unsqueeze", places, last, at=node),
        np.arange(shape[axis], dtype=graph.dtype(indices)),
        at=node,
    )  # [..., U, R]
    each = graph.insert("Unsqueeze", updates, last, at=node)
    result = _reduced(node, graph, kind, hit, each, data, -2)
    graph.substitute(node, _moved(node, graph, result, [order.index(i) for i in range(len(order))]))


def _moved(node: Any, graph: GraphView, tensor: Any, order: list[int]) -> Any:
    if order == sorted(order):
        return tensor
    return graph.insert("Transpose", tensor, at=node, attrs={"perm": order})
