"""Nodes that FP16 or BF16 would make wrong whatever the data: found in the graph's structure and constants.

Squares up to the root: x * x leaves FP16 at 256. TensorRT computes LayerNormalization and Softmax in FP32 whatever
their inputs are, so this is for norms that are written out.

Guards: the eps of ``x / max(norm, 1e-12)`` is zero in FP16, and 0 / 0 is NaN. So is 0 * (1 / eps) where 1 / eps is Inf.

Counting: positions, lengths and grids are whole numbers; FP16 holds those up to 2048, BF16 those up to 256. Where they
end in Sin, Cos, a rounding or an index, a small relative error is a large one, so all of the way there stays FP32.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from trtbuild.precision.lowering.float_graph import FloatGraph
from trtbuild.precision.lowering.half_ranges import HEADROOM, LARGEST, VANISHES

if TYPE_CHECKING:
    from onnx import NodeProto

Rest = Literal["fp32", "fp16", "bf16"]
"""What is not quantised may be in."""

LowPrecision = Literal["fp16", "bf16"]

WHOLE = {"fp16": 2048, "bf16": 256}
"""Whole numbers up to this are exact."""

_AFTER_SQUARE = {"ReduceMean", "ReduceSum", "Add", "Sqrt", "Reciprocal", "Mul", "Div", "Pow"}
_ROOTS = {"Sqrt", "Reciprocal"}
_NORMS = {"ReduceMean", "ReduceSum", "ReduceL2", "Sqrt", "Reciprocal"}
_RESHAPES = {"Identity", "Reshape", "Expand", "Unsqueeze", "Squeeze", "Transpose", "Slice", "Tile"}
_GUARDED = {"Add", "Max", "Clip"}
_INEXACT = {"Sin", "Cos", "Floor", "Ceil", "Round", "Mod", "CumSum"}
_COUNTERS = {"Range", "CumSum", "Shape", "Size", "NonZero"}


def squares(graph: FloatGraph, precision: LowPrecision) -> dict[str, str]:
    """Nodes between a square and the root that undoes it; not those measured to fit that are no norm."""
    reason = "a square leaves the FP16 range at 256" if precision == "fp16" else "a norm needs more than BF16's 8 bits"
    origins: dict[str, set[str]] = {}  # tensor that holds squares to the nodes that squared
    members: dict[str, list[NodeProto]] = {}  # squaring node to all that works on its result
    kept: dict[str, str] = {}
    for node in graph.model.graph.node:
        if _is_square(graph, node):
            kept[node.name] = reason
            found = {node.name}
        elif node.op_type in _AFTER_SQUARE:
            found = set().union(*(origins.get(name, set()) for name in node.input))
        else:
            continue
        if not found:
            continue
        kept.setdefault(node.name, "works on squares")
        for origin in found:
            members.setdefault(origin, []).append(node)
        if node.op_type not in _ROOTS:
            for name in node.output:
                origins[name] = found
    for origin, nodes in members.items():
        norm = any(n.op_type in _NORMS for n in nodes)
        if not norm and (precision == "bf16" or all(_fits(graph, n) for n in nodes)):
            alone = {n.name for n in nodes} - {n.name for o, others in members.items() if o != origin for n in others}
            kept = {name: said for name, said in kept.items() if name not in alone}
    return kept


def _is_square(graph: FloatGraph, node: NodeProto) -> bool:
    if node.op_type == "Pow" and node.input[1] in graph.magnitudes:
        return graph.magnitudes[node.input[1]].most >= 2
    return node.op_type == "Mul" and node.input[0] == node.input[1] and graph.is_float(node.input[0])


def _fits(graph: FloatGraph, node: NodeProto) -> bool:
    ends = [graph.ranges.get(name) for name in node.output]
    return all(end is not None and max(-end[0], end[1]) <= LARGEST / HEADROOM for end in ends)


def guards(graph: FloatGraph) -> dict[str, str]:
    """Tensors that a guard against division by zero has made, and that FP16 cannot hold at the guard's value."""
    wide: dict[str, str] = {}
    for node in graph.model.graph.node:
        if node.op_type not in _GUARDED:
            continue
        index = next((i for i, name in enumerate(node.input) if 0 < (graph.scalar(name) or 0) < 1), None)
        if index is not None and not (node.op_type == "Clip" and index != 1):
            eps = graph.scalar(node.input[index]) or 0.0
            route = _to_divisor(graph, node.output[0], eps)
            reason = f"the guard {eps:.3g} against division by zero does not fit FP16"
            wide |= dict.fromkeys(_lost(route), reason)
    return wide


def _lost(route: list[tuple[str, float]]) -> list[str]:
    return [name for name, value in route if value <= VANISHES or value > LARGEST]


def _to_divisor(graph: FloatGraph, name: str, value: float) -> list[tuple[str, float]]:
    """Tensors on the way from a guard to the divisions it is for, each with what the guard's value has become."""
    route: list[tuple[str, float]] = []
    reached = False
    for node in graph.readers.get(name, ()):
        if (node.op_type == "Div" and node.input[1] == name) or node.op_type == "Log":
            reached = True
        after = _becomes(graph, node, name, value)
        if after is None:
            continue
        rest = _to_divisor(graph, node.output[0], after)
        if rest or (after > value and node.op_type in ("Reciprocal", "Pow")):
            reached = True
            route += rest or [(node.output[0], after)]
    return [(name, value), *route] if reached else []


def _becomes(graph: FloatGraph, node: NodeProto, name: str, value: float) -> float | None:
    """A guard's value after a node that keeps it apart from other numbers."""
    if node.op_type == "Sqrt":
        return math.sqrt(value)
    if node.op_type == "Reciprocal":
        return 1 / value
    if node.op_type in _RESHAPES and node.input[0] == name:
        return value
    other = graph.scalar(node.input[1]) if len(node.input) == 2 and node.input[0] == name else None
    if other is None or node.op_type not in ("Pow", "Mul"):
        return None
    return math.pow(value, other) if node.op_type == "Pow" else value * other


def counting(graph: FloatGraph, precision: LowPrecision) -> tuple[dict[str, str], dict[str, str]]:
    """What becomes of whole numbers.

    Returns:
        Nodes that stay in FP32, and tensors that are made and read in FP32, each to the reason.
    """
    counted = _counted(graph)
    keep: dict[str, str] = {}
    wide: dict[str, str] = {}
    exact: set[str] = set()  # tensors that an end is computed from
    for node in reversed(graph.model.graph.node):
        floats = [n for n in node.input if graph.is_float(n)]
        makes = any(graph.is_float(n) for n in node.output)
        ends = node.op_type in ("Sin", "Cos") or (_needs_exactness(node) and any(n in counted for n in floats))
        if ends or any(n in exact for n in node.output):
            exact.update(n for n in floats if n in counted)
            if makes:
                keep[node.name] = "positions and other whole numbers need FP32 until their sine, rounding or index"
    limit = WHOLE[precision]
    for node in graph.model.graph.node:
        if node.op_type == "Cast" and graph.is_float(node.output[0]) and not graph.is_float(node.input[0]):
            low, high = graph.ranges.get(node.output[0], (0.0, 0.0))
            if max(-low, high) > limit:
                said = f"whole numbers to {max(-low, high):.0f}: {precision.upper()} holds those to {limit}"
                wide[node.output[0]] = said
    return keep, wide


def _needs_exactness(node: NodeProto) -> bool:
    if node.op_type == "Cast":
        to = next(a.i for a in node.attribute if a.name == "to")
        return to in (2, 3, 4, 5, 6, 7, 12, 13)  # TensorProto's integers
    return node.op_type in _INEXACT


def _counted(graph: FloatGraph) -> set[str]:
    """Tensors that follow from integers and constants alone, at least one integer among them."""
    found: set[str] = set()
    for node in graph.model.graph.node:
        given = [name for name in node.input if name]
        integers = [n for n in given if n not in graph.weights and graph.types.get(n, 1) in (2, 3, 4, 5, 6, 7, 12, 13)]
        if node.op_type == "Gather" and given[0] in graph.weights and graph.is_float(given[0]):
            continue  # an embedding: its rows are numbers of any kind
        if all(n in graph.weights or n in integers or n in found for n in given) and (
            integers or node.op_type in _COUNTERS or any(n in found for n in given)
        ):
            found.update(n for n in node.output if n)
    return found


def by_operator(node: NodeProto, precision: LowPrecision) -> str | None:
    """Why an operator's own work needs FP32 in this precision."""
    if precision == "bf16" and node.op_type == "GridSample":
        return "BF16 coordinates are off by a pixel from 512 pixels on"
    return None


def ties(graph: FloatGraph, lowered: set[str]) -> list[str]:
    """Names the nodes that pick the largest of numbers that BF16 makes equal."""
    return [
        f"{node.name}: {node.op_type} reads BF16, where numbers within 1 in 256 are equal and the first one wins"
        for node in graph.model.graph.node
        if node.op_type in ("ArgMax", "ArgMin", "TopK") and node.input[0] in lowered
    ]
