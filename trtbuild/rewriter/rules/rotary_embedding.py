"""The RotaryEmbedding operator becomes the products and sums it stands for, which TensorRT fuses.

TensorRT-RTX 1.7.1 does not build what exporters write for Llama and Qwen3 at opset 23: caches that are the same for
the whole batch ("cosCache has batch size 1 but must have the same batch size"). Written out, llama has 25 kernels in
FP16; with the halves turned by a Gather, or by a Concat and a Neg, the count is the same.

Algebra: with the head's first r sizes in two halves a and b, Y = [a cos - b sin, a sin + b cos, the rest]. a and b are
the lower and the upper half, or with ``interleaved`` the even and the odd places.
Axes: X is [batch, heads, sequence, size] or [batch, sequence, heads * size]; the caches are [batch, sequence, r / 2],
or [positions, r / 2] read at position_ids [batch, sequence]. A batch of 1 is broadcast.

ONNX: RotaryEmbedding 23.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("RotaryEmbedding",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Writes the operator out."""
    tensor, cos, sin = node.inputs[:3]
    positions = node.inputs[3] if len(node.inputs) > 3 and node.inputs[3].name else None
    shape = graph.shape(tensor)
    graph.need(shape is not None and isinstance(shape[-1], int), "the size of a head is not known")
    flat = shape is not None and len(shape) == 3
    heads = node.attrs.get("num_heads", 0)
    size: int = shape[-1] // heads if flat else shape[-1]  # type: ignore[index, assignment]
    turned = node.attrs.get("rotary_embedding_dim", 0) or size

    def lower() -> None:
        x = graph.insert("Reshape", tensor, _numbers(0, 0, heads, size), at=node) if flat else tensor
        rest = None
        if turned < size:
            x, rest = graph.insert("Split", x, _numbers(turned, size - turned), at=node, attrs={"axis": -1}, outputs=2)
        c, s = (_cache(graph, t, positions, 2 if flat else 1, node) for t in (cos, sin))
        parts = [_turn(graph, x, c, s, turned // 2, node)]
        if rest is not None:
            parts = [graph.insert("Concat", *parts, rest, at=node, attrs={"axis": -1})]
        result = graph.insert("Reshape", *parts, _numbers(0, 0, heads * size), at=node) if flat else parts[0]
        graph.substitute(node, result)

    return Edit("written out as products and sums", lower)


def _numbers(*values: int) -> Any:
    return np.array(values, np.int64)


def _cache(graph: GraphView, cache: Any, positions: Any, heads_axis: int, at: Any) -> Any:
    """Cosines or sines, with an axis of one for the heads."""
    if positions is not None:
        cache = graph.insert("Gather", cache, positions, at=at, attrs={"axis": 0})
    return graph.insert("Unsqueeze", cache, _numbers(heads_axis), at=at)


def _turn(graph: GraphView, x: Any, cos: Any, sin: Any, half: int, at: Any) -> Any:
    """The turned part, 4D as ``x``."""

    def new(op: str, *inputs: Any, **attributes: Any) -> Any:
        return graph.insert(op, *inputs, at=at, attrs=attributes)

    interleaved = at.attrs.get("interleaved", 0)
    if interleaved:
        pairs = new("Reshape", x, _numbers(0, 0, 0, half, 2))
        apart = graph.insert("Split", pairs, _numbers(1, 1), at=at, attrs={"axis": -1}, outputs=2)
        a, b = (new("Squeeze", t, _numbers(-1)) for t in apart)
    else:
        a, b = graph.insert("Split", x, _numbers(half, half), at=at, attrs={"axis": -1}, outputs=2)
    first = new("Sub", new("Mul", a, cos), new("Mul", b, sin))
    second = new("Add", new("Mul", a, sin), new("Mul", b, cos))
    if not interleaved:
        return new("Concat", first, second, axis=-1)
    columns = (new("Unsqueeze", t, _numbers(-1)) for t in (first, second))
    return new("Reshape", new("Concat", *columns, axis=-1), _numbers(0, 0, 0, 2 * half))
