"""Where the numbers of a shape come from: what is known of sizes that ONNX's inference has no name for.

TorchScript writes a Reshape's target as Concat(Gather(Shape(x), 0), Gather(Shape(x), 1), -1, 32). Once inference has
lost an axis, it does not see that the first two are those of the tensor that is reshaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trtbuild.rewriter.graph import GraphView

Size = int | tuple[Any, int] | None
"""A number; the size of a tensor's axis; or None where it is neither."""

_SAME_SHAPE = ("LayerNormalization", "RMSNormalization", "Cast", "Identity")
_BY_A_VECTOR = ("Add", "Sub", "Mul", "Div")


def sizes(graph: GraphView, shape: Any) -> list[Size] | None:
    """What each number of a shape tensor is; None where not even their count is known."""
    values = graph.constant(shape)
    if values is not None:
        return [int(v) for v in values.reshape(-1)]
    node = graph.producer(shape, "Concat", "Unsqueeze", "Gather", "Slice", "Shape")
    if node is None:
        count = shape.shape[0] if shape.shape is not None and len(shape.shape) == 1 else None
        return [None] * count if isinstance(count, int) else None
    if node.op == "Shape":
        rank = graph.rank(node.inputs[0])
        axes = None if rank is None else range(rank)[node.attrs.get("start", 0) : node.attrs.get("end", rank)]
        return None if axes is None else [(node.inputs[0], axis) for axis in axes]
    if node.op == "Concat":
        parts = [sizes(graph, t) for t in node.inputs]
        return None if any(p is None for p in parts) else [size for p in parts if p is not None for size in p]
    inner = sizes(graph, node.inputs[0])
    if node.op == "Unsqueeze":
        return inner if inner is not None and len(inner) == 1 else None
    given = [graph.scalar(t) for t in node.inputs[1:]]
    if inner is None or None in given:
        return None
    numbers = [int(n) for n in given if n is not None]
    if node.op == "Slice":
        return inner[slice(*numbers[:2], *numbers[3:])]
    return [inner[numbers[0]]] if -len(inner) <= numbers[0] < len(inner) else None


def copies_axes(graph: GraphView, shape: Any, tensor: Any, count: int) -> bool:
    """Whether the first ``count`` numbers of a Reshape's target are, at run time, those axes' sizes of ``tensor``.

    Args:
        graph: The view.
        shape: The target.
        tensor: What it is held against; its last axis is never taken for the same as another tensor's.
        count: Fewer than the tensor's axes.
    """
    found, known = sizes(graph, shape), graph.shape(tensor)
    if found is None or known is None or len(found) < count or len(known) <= count:
        return False
    origin = _before_the_last_axis_changed(graph, tensor)
    for axis in range(count):
        size = found[axis]
        if isinstance(size, tuple):
            same = size[1] == axis and _before_the_last_axis_changed(graph, size[0]) is origin
        else:
            same = size is not None and size > 0 and size == known[axis]
        if not same:
            return False
    return True


def _before_the_last_axis_changed(graph: GraphView, tensor: Any) -> Any:
    """The first tensor, going back, of the same rank and with the same sizes of all axes but the last."""
    while True:
        node = graph.producer(tensor, "MatMul", "Split", *_BY_A_VECTOR, *_SAME_SHAPE)
        source = None if node is None else _source(graph, node)
        if source is None:
            return tensor
        tensor = source


def _source(graph: GraphView, node: Any) -> Any | None:
    """The input whose axes but the last a node keeps; None where it may change others."""
    first = node.inputs[0]
    rank = graph.rank(first)
    if node.op in _SAME_SHAPE:
        return first
    if node.op == "Split":
        return first if rank is not None and rank > 1 and node.attrs.get("axis", 0) in (-1, rank - 1) else None
    if node.op == "MatMul":
        matrix = graph.is_constant(node.inputs[1]) and len(node.inputs[1].shape) == 2
        return first if matrix and rank is not None and rank > 1 else None
    for computed, fixed in ((first, node.inputs[1]), (node.inputs[1], first)):
        if graph.is_constant(fixed) and len(fixed.shape) <= 1 and (graph.rank(computed) or 0) > 1:
            return computed
    return None
