"""The Attention operator becomes products of matrices and a Softmax, which TensorRT fuses better than the operator.

TensorRT-RTX 1.7.1 does not build the operator in FP32 at all ("not supported by a dedicated kernel"), and in FP16 puts
more kernels around it. Small opset-23 exports, FP16 kernels: bert 27 become 25, gpt2 36 become 27, vit 35 become 26, t5
encoder 49 become 39, whisper decoder 44 become 41, clip 65 become 61.

Algebra: the operator's own: Y = Softmax(softcap(scale Q K') + mask) V, with K and V behind the past ones; a row that
is masked throughout gives zeros. A mask of truth values m is added as log m, 0 or -inf. is_causal masks j > i + past.
Axes: 4D inputs are [batch, heads, sequence, size], 3D ones [batch, sequence, heads * size]. With fewer heads of K and
V than of Q, head h of Q reads head h // (Hq / Hkv). Where a score is NaN because Q or K is, the row becomes zero too.

ONNX: Attention 23 and 24, without nonpad_kv_seqlen and without qk_matmul_output.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trtbuild.rewriter.attention import (
    additive,
    additive_values,
    attend,
    causal,
    join_heads,
    onnx_type,
    repeat_heads,
    split_heads,
)
from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Attention",)
AFTER = ("constant_nodes",)
_LAST_OPSET = 24
_LARGEST = 1 << 20  # elements of a causal mask that is kept as a constant
_FLOATS = ("float16", "float32", "float64")


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Writes the operator out."""
    if graph.opset > _LAST_OPSET:
        return None
    query, key, value, mask, past_key, past_value, kept = [*_given(node.inputs), *[None] * 7][:7]
    present = [*_given(node.outputs), *[None] * 4][1:4]
    dtype: Any = graph.dtype(query)
    rank = graph.rank(query)
    known = dtype is not None and dtype.name in _FLOATS and rank in (3, 4)
    graph.need(known, "the rank of its inputs is not known, or their type is not a float that NumPy has")
    graph.need(not _used(present[2], graph), "the scores are read")
    graph.need(kept is None, "the keys that count are given by nonpad_kv_seqlen")
    shapes = [graph.shape(t) for t in (query, key, value)]
    query_heads, key_heads, sizes = _heads(node, shapes)
    both = isinstance(query_heads, int) and isinstance(key_heads, int)
    graph.need(both or (query_heads is not None and query_heads == key_heads), "the number of heads is not known")
    scale = node.attrs.get("scale")
    fixed = all(isinstance(n, int) for n in sizes)
    graph.need(fixed or (scale is not None and query_heads == key_heads), "the size of a head is not known")
    scale = 1 / math.sqrt(sizes[0]) if scale is None else scale
    if mask is not None:
        graph.need(graph.dtype(mask) in (np.bool_, dtype), "the mask is neither of truth values nor to be added")
        if graph.opset == _LAST_OPSET:  # a shorter mask is filled up there; ONNX Runtime 1.31 refuses it
            graph.prefer(_whole(graph.shape(mask), shapes[1], rank, past_key), "the mask may be shorter than the keys")

    def lower() -> None:
        q, k, v = query, key, value
        if rank == 3:
            q = split_heads(graph, q, query_heads, node)
            k, v = (split_heads(graph, t, key_heads, node) for t in (k, v))
        if past_key is not None:
            k = graph.insert("Concat", past_key, k, at=node, attrs={"axis": 2}, name="present_key")
            v = graph.insert("Concat", past_value, v, at=node, attrs={"axis": 2}, name="present_value")
        whole_key, whole_value = k, v
        if query_heads != key_heads:
            k, v = (repeat_heads(graph, t, query_heads // key_heads, node) for t in (k, v))
        added, guarded = _mask(node, graph, mask, (q, k, past_key), dtype)
        kind = node.attrs.get("softmax_precision")
        result = attend(
            graph, q, k, v, at=node, scale=scale, softcap=node.attrs.get("softcap", 0.0), mask=added, guarded=guarded,
            softmax_type=None if kind in (None, onnx_type(dtype)) else kind,
        )  # fmt: skip
        if rank == 3:
            result = join_heads(graph, result, node)
        graph.substitute(node, result, whole_key if present[0] else None, whole_value if present[1] else None)

    return Edit("written out as MatMul, Softmax, MatMul", lower)


def _given(tensors: Any) -> list[Any]:
    return [t if t.name else None for t in tensors]


def _used(tensor: Any, graph: GraphView) -> bool:
    return tensor is not None and (bool(graph.readers(tensor)) or graph.is_output(tensor))


def _heads(node: Any, shapes: list[Any]) -> tuple[Any, Any, list[Any]]:
    """Heads of Q, heads of K and V, and the size of a head of each of the three, as far as they are known."""
    if len(shapes[0]) == 4:
        return shapes[0][1], shapes[1][1] if shapes[1] else None, [s[3] if s else None for s in shapes]
    heads = [node.attrs.get(f"{who}_num_heads") for who in ("q", "kv", "kv")]
    sizes = [
        s[2] // n if s and isinstance(s[2], int) and isinstance(n, int) else None
        for s, n in zip(shapes, heads, strict=True)
    ]
    return heads[0], heads[1], sizes


def _whole(mask: Any, key: Any, rank: int | None, past_key: Any) -> bool:
    """Whether a mask of opset 24 is as long as the keys: a shorter one is filled up there."""
    if past_key is not None or not key or not mask:
        return False
    return mask[-1] is not None and mask[-1] == key[1 if rank == 3 else 2]


def _mask(node: Any, graph: GraphView, mask: Any, parts: tuple[Any, Any, Any], dtype: Any) -> tuple[Any, bool]:
    """The mask to be added, or None, and whether it may mask a row throughout."""
    query, key, past = parts
    values = graph.constant(mask) if mask is not None and graph.dtype(mask) == np.bool_ else None
    if not node.attrs.get("is_causal"):
        if mask is None:
            return None, False
        if values is not None and values.any(axis=-1).all():
            return additive_values(values, dtype), False
        return (additive(graph, mask, dtype, node) if graph.dtype(mask) == np.bool_ else mask), True
    rows, columns = query.shape[2], key.shape[2]
    fixed = past is None and isinstance(rows, int) and isinstance(columns, int) and rows * columns <= _LARGEST
    if fixed:
        lower = np.tri(rows, columns, dtype=np.bool_)
        if mask is None:
            return additive_values(lower, dtype), False
        allowed = graph.new_constant(f"{node.name}_causal", lower)
    else:
        allowed = causal(graph, query, key, past, node)
    if mask is None:
        lowest = np.array(np.finfo(dtype).min, dtype)
        return graph.insert("Where", allowed, np.array(0, dtype), lowest, at=node, name="causal_mask"), False
    if graph.dtype(mask) == np.bool_:
        return additive(graph, graph.insert("And", mask, allowed, at=node), dtype, node), True
    return graph.insert("Add", mask, additive(graph, allowed, dtype, node), at=node, name="causal_mask"), True
