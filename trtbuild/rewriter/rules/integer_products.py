"""Products of 8-bit integers become products of floats that hold them exactly.

TensorRT has no MatMulInteger, ConvInteger, QLinearMatMul and QLinearConv, which ONNX Runtime's quantiser writes.

Algebra: with a and b less their zero points, each product is an integer of at most 2^16, and FP32 holds every sum below
2^24. Where K products could pass that, a is split: a = 16 h + l with l and the size of h up to 16, so that
a b = 16 (h b) + (l b), and each sum stays below 2^24 for K up to some 4,000; the two are added as INT32. QLinear: the
sum times (a_scale * b_scale / y_scale), rounded to even, plus the zero point, clipped to the type's range.
Axes: K is the last axis of a (MatMul), or the channels of a group times the kernel's volume (Conv); it must be known. A
zero point or scale of w with one value a channel goes along w's axis 0.

ONNX: MatMulInteger 10, ConvInteger 10, QLinearMatMul 10 to 21, QLinearConv 10.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv")
AFTER = ("constant_nodes",)
_EXACT = 1 << 24  # FP32 holds every integer up to here
_MOST = 255  # largest magnitude of an 8-bit integer less an 8-bit zero point
_PART = 16  # largest magnitude of either half of a


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the product."""
    read = [*node.inputs, *[None] * 9]
    quantised = node.op.startswith("QLinear")
    a, b, a_zero, b_zero = (read[0], read[3], read[2], read[5]) if quantised else read[:4]
    graph.prefer(graph.opset >= 11 or not quantised, "Round is in ONNX from opset 11 on")
    kinds = {str(graph.dtype(t)) for t in (a, b)}
    graph.prefer(kinds <= {"int8", "uint8"}, "its operands are not of 8 bits")
    shape: Any = graph.shape(b if "Conv" in node.op else a)
    graph.need(shape is not None, "the rank is not known")
    terms = shape[1:] if "Conv" in node.op else shape[-1:]
    graph.need(all(isinstance(d, int) for d in terms), "how many products are added up is not known")
    number = prod(terms)
    zeros = [t for t in (a_zero, b_zero) if t is not None and t.name]
    graph.prefer("Conv" in node.op or all(_is_single(t, graph) for t in zeros), "a zero point a row or column")
    graph.need(number * _PART * _MOST < _EXACT, "its sums go beyond what FP32 holds exactly")
    whole = number * _MOST * _MOST < _EXACT

    def replace() -> None:
        total = _sum(node, graph, a, b, a_zero, b_zero, whole=whole)
        graph.substitute(node, _quantised(node, graph, total, read) if quantised else total)

    return Edit(f"sums of {number} products, in FP32", replace)


def _is_single(tensor: Any, graph: GraphView) -> bool:
    shape = graph.shape(tensor)
    return shape is not None and all(d == 1 for d in shape)


def _less(node: Any, graph: GraphView, tensor: Any, zero: Any, rank: int) -> Any:
    """The tensor less its zero point, as INT32; a zero point with several values goes along axis 0."""
    value = graph.insert("Cast", tensor, at=node, attrs={"to": np.int32})
    if zero is None or not zero.name:
        return value
    point = graph.insert("Cast", zero, at=node, attrs={"to": np.int32})
    if not _is_single(zero, graph):
        point = graph.insert("Reshape", point, np.array([-1, *[1] * (rank - 1)], np.int64), at=node)
    return graph.insert("Sub", value, point, at=node)


def _sum(node: Any, graph: GraphView, a: Any, b: Any, a_zero: Any, b_zero: Any, *, whole: bool) -> Any:
    """The INT32 result."""
    left = _less(node, graph, a, a_zero, 0)
    right = graph.insert("Cast", _less(node, graph, b, b_zero, graph.rank(b) or 0), at=node, attrs={"to": np.float32})
    if whole:
        return _product(node, graph, left, right)
    moved = graph.insert("Add", left, np.array(256, np.int32), at=node)  # so that the division rounds down
    high = graph.insert(
        "Sub", graph.insert("Div", moved, np.array(16, np.int32), at=node), np.array(16, np.int32), at=node
    )
    low = graph.insert("Sub", left, graph.insert("Mul", high, np.array(16, np.int32), at=node), at=node)
    upper = graph.insert("Mul", _product(node, graph, high, right), np.array(16, np.int32), at=node)
    return graph.insert("Add", upper, _product(node, graph, low, right), at=node)


def _product(node: Any, graph: GraphView, left: Any, right: Any) -> Any:
    value = graph.insert("Cast", left, at=node, attrs={"to": np.float32})
    op, attrs = ("Conv", dict(node.attrs)) if "Conv" in node.op else ("MatMul", {})
    made = graph.insert(op, value, right, at=node, attrs=attrs)
    return graph.insert("Cast", made, at=node, attrs={"to": np.int32})


def _quantised(node: Any, graph: GraphView, total: Any, read: list[Any]) -> Any:
    a_scale, b_scale, y_scale, y_zero, bias = read[1], read[4], read[6], read[7], read[8]
    if bias is not None and bias.name:
        total = graph.insert("Add", total, _along(node, graph, bias, total), at=node)
    scales = [graph.insert("Cast", t, at=node, attrs={"to": np.float32}) for t in (a_scale, b_scale, y_scale)]
    factor = graph.insert("Div", graph.insert("Mul", *scales[:2], at=node), scales[2], at=node)
    value = graph.insert("Cast", total, at=node, attrs={"to": np.float32})
    value = graph.insert("Mul", value, _along(node, graph, factor, total), at=node)
    value = graph.insert("Round", value, at=node)
    value = graph.insert("Add", value, graph.insert("Cast", y_zero, at=node, attrs={"to": np.float32}), at=node)
    kind: Any = graph.dtype(y_zero)
    limits = [np.array(n, np.float32) for n in (np.iinfo(kind).min, np.iinfo(kind).max)]
    return graph.insert("Cast", graph.insert("Clip", value, *limits, at=node), at=node, attrs={"to": kind.type})


def _along(node: Any, graph: GraphView, tensor: Any, result: Any) -> Any:
    """One value a channel, along axis 1 of a convolution's result."""
    if "Conv" not in node.op or _is_single(tensor, graph):
        return tensor
    shape = np.array([-1, *[1] * ((graph.rank(result) or 2) - 2)], np.int64)
    return graph.insert("Reshape", tensor, shape, at=node)
