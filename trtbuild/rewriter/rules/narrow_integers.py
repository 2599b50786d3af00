"""UINT8, INT16, UINT16 and UINT32 in the middle of a graph become INT32 or INT64.

TensorRT takes UINT8 at a model's inputs and outputs, next to a Cast, and the other three nowhere. So a uint8 NHWC image
that is transposed before it is cast does not build.

Algebra: arithmetic on b bits is arithmetic on more bits, taken modulo 2^b at the end; what only moves, selects or
compares elements does the same to wider ones. A Cast to a narrow type that is followed by a Cast from it
becomes the remainder modulo 2^b, and nothing at all where the values are known to fit.
Axes: none is touched. INT8 is left as it is where TensorRT has the operator for it.

ONNX: the operators in ``_MOVES``, ``_COMPARES`` and ``_WRAPS``, Cast 6 to 25.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

_MOVES = (
    "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "GatherElements", "GatherND",
    "Concat", "Split", "Expand", "Tile", "Identity", "Pad", "DepthToSpace", "SpaceToDepth", "Where", "Max", "Min",
    "ReduceMax", "ReduceMin", "ScatterND", "ScatterElements",
)  # fmt: skip
_COMPARES = ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")
_WRAPS = ("Add", "Sub", "Mul", "Div", "Mod")
OPS = (*_MOVES, *_COMPARES, *_WRAPS, "Cast")
AFTER = ("constant_nodes", "bit_arithmetic")
_BITS = {"uint8": 8, "int8": 8, "int16": 16, "uint16": 16, "uint32": 32}
_INT8_TOO = ("Mod",)
_DEEPEST = 16  # nodes looked back for what bounds a value


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Widens the node, or takes the narrow type out between two Casts."""
    if node.op == "Cast":
        return _between_casts(node, graph)
    kinds = {str(graph.dtype(t)) for t in (*node.inputs, *node.outputs) if t.name}
    narrow = {k for k in kinds & set(_BITS) if k != "int8" or node.op in _INT8_TOO}
    if len(narrow) != 1:
        return None
    (kind,) = narrow
    graph.prefer(all(graph.dtype(t) is not None for t in node.outputs if t.name), "the type of a result is not known")
    if node.op == "Mod" and node.attrs.get("fmod"):
        return None
    return Edit(f"computed in {_wide(kind)}", lambda: _widen(node, graph, kind))


def _wide(kind: str) -> np.dtype[Any]:
    return np.dtype(np.int64 if kind in ("uint16", "uint32") else np.int32)


def _widen(node: Any, graph: GraphView, kind: str) -> None:
    wide, narrow = _wide(kind), np.dtype(kind)
    read = [
        (
            None
            if not t.name
            else graph.insert("Cast", t, at=node, attrs={"to": wide.type})
            if graph.dtype(t) == kind
            else t
        )
        for t in node.inputs
    ]
    made = graph.insert(node.op, *read, at=node, attrs=node.attrs, outputs=len(node.outputs))
    results = []
    for old, new in zip(node.outputs, [made] if len(node.outputs) == 1 else made, strict=True):
        result = new
        if graph.dtype(old) == kind:
            if node.op in _WRAPS[:3] or (node.op == "Div" and kind.startswith("int")):
                result = _folded(node, graph, new, kind)
            result = graph.insert("Cast", result, at=node, attrs={"to": narrow.type})
        results.append(result)
    graph.substitute(node, *results)


def _folded(node: Any, graph: GraphView, value: Any, kind: str) -> Any:
    """A wider integer's last bits, read as a number of the narrow type."""
    dtype, signed = graph.dtype(value), not kind.startswith("u")
    half = np.array(1 << (_BITS[kind] - 1), dtype)
    if signed:
        value = graph.insert("Add", value, half, at=node)
    value = graph.insert("Mod", value, np.array(1 << _BITS[kind], dtype), at=node)
    return graph.insert("Sub", value, half, at=node) if signed else value


def _between_casts(node: Any, graph: GraphView) -> Edit | None:
    """Cast to a narrow type, then from it: the narrow type goes."""
    kind = str(graph.dtype(node.inputs[0]))
    first = graph.producer(node.inputs[0], "Cast")
    target = graph.dtype(node.outputs[0])
    if kind not in _BITS or kind == "int8" or first is None or target is None or str(target) in _BITS:
        return None
    source = first.inputs[0]
    dtype = graph.dtype(source)
    if dtype is None or dtype.kind not in "iuf" or str(dtype) in _BITS:
        return None

    def replace() -> None:
        value = source
        if not _fits(graph, source, kind, _DEEPEST):
            if graph.dtype(value) != _wide(kind):
                value = graph.insert("Cast", value, at=node, attrs={"to": _wide(kind).type})
            value = _folded(node, graph, value, kind)
        if graph.dtype(value) != target:
            value = graph.insert("Cast", value, at=node, attrs={"to": target.type})
        graph.substitute(node, value)

    return Edit(f"without {kind} between two Casts", replace)


def _fits(graph: GraphView, tensor: Any, kind: str, depth: int) -> bool:
    """Whether all values are integers of the narrow type."""
    limits = np.iinfo(kind)
    values = graph.constant(tensor)
    if values is not None:
        return (
            bool(values.size) and values.dtype.kind in "iu" and limits.min <= values.min() <= values.max() <= limits.max
        )
    node = graph.producer(tensor)
    if node is None or depth == 0:
        return False
    if node.op == "Cast":
        before = graph.dtype(node.inputs[0])
        if before is None or before.kind not in "iub":
            return False
        if before.kind == "b" or (np.iinfo(before).min >= limits.min and np.iinfo(before).max <= limits.max):
            return True
        return graph.dtype(tensor).kind in "iu" and _fits(graph, node.inputs[0], kind, depth - 1)  # type: ignore[union-attr]
    if node.op == "Mod" and limits.min <= 0:
        divisor = graph.scalar(node.inputs[1])
        return divisor is not None and 0 < divisor <= limits.max + 1 and not node.attrs.get("fmod")
    if node.op in ("Max", "Min", "Where", "Concat"):
        read = node.inputs[1:] if node.op == "Where" else node.inputs
        return all(_fits(graph, t, kind, depth - 1) for t in read)
    if node.op in _MOVES and node.op not in ("Pad", "ScatterND", "ScatterElements"):
        return _fits(graph, node.inputs[0], kind, depth - 1)
    return False
