"""Bitwise operators and shifts become integer arithmetic.

TensorRT has And, Or, Xor and Not for booleans only, and no shifts.

Algebra, on two's complement of b bits. Not: -x - 1, for unsigned (2^b - 1) - x. And with the constant 2^k - 1: the rest
x mod 2^k. Any other And, Or, Xor: bit i of x is the boolean floor(u / 2^i) mod 2, where u = x for x >= 0; for x < 0 it
is the opposite bit of u = -x - 1. The bits are combined and added up; the sign is combined as a bit of its own. A shift
to the left by y is x 2^y mod 2^b; to the right it is floor(x / 2^y); for y < 0 and y >= b it is what the sign alone
gives, 0 or -1.
Computed in INT32 for types of up to 16 bits, else in INT64; shifts always in INT64.
Axes: elementwise with broadcasting; the bits are an axis of their own at the end, b times the memory.

ONNX: BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot 18; BitShift 11 (unsigned) and 28 (signed).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift")
AFTER = ("constant_nodes",)
_TYPES = {"uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "uint32": 32, "int32": 32, "int64": 64}
_HALF = 32  # bits added up at once
_LOGICAL = {"BitwiseAnd": "And", "BitwiseOr": "Or", "BitwiseXor": "Xor"}


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the operator."""
    dtype: Any = graph.dtype(node.inputs[0])
    graph.need(str(dtype) in _TYPES, f"no exact arithmetic for its type: {dtype}")
    bits, signed = _TYPES[str(dtype)], dtype.kind == "i"
    if node.op == "BitShift":
        right = _text(node.attrs["direction"]) == "RIGHT"
        return Edit("a product with a power of two" if not right else "a division by a power of two",
                    lambda: _shift(node, graph, bits, signed=signed, right=right))  # fmt: skip
    wide = np.dtype(np.int32 if bits <= 16 or str(dtype) == "int32" else np.int64)
    if node.op == "BitwiseNot":
        top = np.array(-1 if signed else (1 << bits) - 1, wide)
        return Edit("a difference", lambda: _finish(node, graph, _minus(node, graph, top, wide)))
    operands = graph.with_constant(node)
    mask = operands[1] if operands else None
    if node.op == "BitwiseAnd" and mask is not None and mask.size == 1 and _is_low_mask(int(mask.item()), wide):
        return Edit("the rest of a division", lambda: _low_bits(node, graph, operands, wide))
    return Edit(f"{bits} bits, each a boolean", lambda: _bitwise(node, graph, bits, wide, signed=signed))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_low_mask(value: int, wide: Any) -> bool:
    return 0 < value < np.iinfo(wide).max and value & (value + 1) == 0


def _as(node: Any, graph: GraphView, tensor: Any, wide: Any) -> Any:
    values = graph.constant(tensor)
    if values is not None:
        return values.astype(wide)
    return tensor if graph.dtype(tensor) == wide else graph.insert("Cast", tensor, at=node, attrs={"to": wide.type})


def _finish(node: Any, graph: GraphView, value: Any) -> None:
    dtype: Any = graph.dtype(node.inputs[0])
    if graph.dtype(value) != dtype:
        value = graph.insert("Cast", value, at=node, attrs={"to": dtype.type})
    graph.substitute(node, value)


def _minus(node: Any, graph: GraphView, top: Any, wide: Any) -> Any:
    return graph.insert("Sub", top, _as(node, graph, node.inputs[0], wide), at=node)


def _low_bits(node: Any, graph: GraphView, operands: Any, wide: Any) -> None:
    whole = _as(node, graph, operands[0], wide)
    size = (operands[1].astype(np.int64) + 1).astype(wide)
    _finish(node, graph, graph.insert("Mod", whole, size, at=node))


def _bitwise(node: Any, graph: GraphView, bits: int, wide: Any, *, signed: bool) -> None:
    powers = 2 ** np.arange(bits - 1 if signed else bits, dtype=wide)
    one, zero, two = (np.array(n, wide) for n in (1, 0, 2))
    last = np.array([-1], np.int64)
    signs, planes = [], []
    for tensor in node.inputs:
        value = _as(node, graph, tensor, wide)
        below = graph.insert("Less", value, zero, at=node)
        flipped = graph.insert("Sub", np.array(-1, wide), value, at=node)
        magnitude = graph.insert("Where", below, flipped, value, at=node) if signed else value
        column = graph.insert("Unsqueeze", magnitude, last, at=node)
        digit = graph.insert("Mod", graph.insert("Div", column, powers, at=node), two, at=node)
        plane = graph.insert("Equal", digit, one, at=node)
        if signed:
            plane = graph.insert("Xor", plane, graph.insert("Unsqueeze", below, last, at=node), at=node)
        signs.append(below)
        planes.append(plane)
    combine = _LOGICAL[node.op]
    result = graph.insert(combine, *planes, at=node)
    sign = graph.insert(combine, *signs, at=node)
    if signed:
        result = graph.insert("Xor", result, graph.insert("Unsqueeze", sign, last, at=node), at=node)
    total = _added_up(node, graph, result, powers)
    if signed:
        flipped = graph.insert("Sub", np.array(-1, wide), total, at=node)
        total = graph.insert("Where", sign, flipped, total, at=node)
    _finish(node, graph, total)


def _added_up(node: Any, graph: GraphView, bits: Any, powers: Any) -> Any:
    """The number of those bits, half by half: ONNX Runtime adds INT64 up as doubles, exact below 2^53 only."""
    last, zero = np.array([-1], np.int64), np.array(0, powers.dtype)
    halves = []
    for start in range(0, len(powers), _HALF):
        part = np.where(np.arange(len(powers)) // _HALF == start // _HALF, powers >> start, 0).astype(powers.dtype)
        chosen = graph.insert("Where", bits, part, zero, at=node)
        total = graph.insert("ReduceSum", chosen, last, at=node, attrs={"keepdims": 0})
        halves.append(graph.insert("Mul", total, np.array(1 << start, powers.dtype), at=node) if start else total)
    return halves[0] if len(halves) == 1 else graph.insert("Add", *halves, at=node)


def _shift(node: Any, graph: GraphView, bits: int, *, signed: bool, right: bool) -> None:
    wide = np.dtype(np.int64)
    zero = np.array(0, wide)
    value, by = (_as(node, graph, t, wide) for t in node.inputs)
    outside = graph.insert(
        "Or", graph.insert("Less", by, zero, at=node), graph.insert("Greater", by, np.array(bits - 1), at=node), at=node
    )
    place = graph.insert("Where", outside, zero, by, at=node)
    powers = np.array([1 << min(i, 62) for i in range(bits)], wide)  # 2^63 is no INT64
    power = graph.insert("Gather", powers, place, at=node)
    below = graph.insert("Less", value, zero, at=node)
    if right:
        flipped = graph.insert("Sub", np.array(-1, wide), value, at=node)
        magnitude = graph.insert("Where", below, flipped, value, at=node) if signed else value
        moved = graph.insert("Div", magnitude, power, at=node)
        if bits == 64:  # by 63: once more
            last = graph.insert("Equal", place, np.array(63, wide), at=node)
            moved = graph.insert("Where", last, zero, moved, at=node)
        moved = graph.insert("Where", outside, zero, moved, at=node)
        if signed:
            moved = graph.insert(
                "Where", below, graph.insert("Sub", np.array(-1, wide), moved, at=node), moved, at=node
            )
        return _finish(node, graph, moved)
    moved = graph.insert("Mul", value, power, at=node)
    if bits == 64:
        last = graph.insert("Equal", place, np.array(63, wide), at=node)
        moved = graph.insert("Where", last, graph.insert("Mul", moved, np.array(2, wide), at=node), moved, at=node)
    else:
        moved = folded(node, graph, moved, bits, signed=signed)
    return _finish(node, graph, graph.insert("Where", outside, zero, moved, at=node))


def folded(node: Any, graph: GraphView, value: Any, bits: int, *, signed: bool) -> Any:
    """A wider integer's last ``bits`` bits, read as a number of that type."""
    dtype = graph.dtype(value)
    half = np.array(1 << (bits - 1), dtype)
    if signed:
        value = graph.insert("Add", value, half, at=node)
    value = graph.insert("Mod", value, np.array(1 << bits, dtype), at=node)
    return graph.insert("Sub", value, half, at=node) if signed else value
