"""The form of attention that TensorRT makes one fused kernel of, in pieces that rules share.

Softmax(scale Q K' + mask) V, on 4D tensors [batch, heads, sequence, size], the mask added. A mask of -inf written down
as a constant makes TensorRT-RTX compact the sequence first, with seven kernels (bert: 32 kernels instead of 25, for
``Where(mask, 0, -inf)``); the same mask as the logarithm of 0 and 1 does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from trtbuild.rewriter.graph import GraphView


def onnx_type(dtype: DTypeLike) -> int:
    """ONNX's number for an element type."""
    import onnx

    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def split_heads(graph: GraphView, tensor: Any, heads: int, at: Any) -> Any:
    """[batch, sequence, heads * size] to [batch, heads, sequence, size]."""
    hidden = tensor.shape[2]
    size = hidden // heads if isinstance(hidden, (int, np.integer)) else -1
    split = graph.insert("Reshape", tensor, np.array([0, 0, heads, size], np.int64), at=at, name="split_heads")
    return graph.insert("Transpose", split, at=at, attrs={"perm": [0, 2, 1, 3]})


def join_heads(graph: GraphView, tensor: Any, at: Any) -> Any:
    """[batch, heads, sequence, size] to [batch, sequence, heads * size]."""
    heads, size = tensor.shape[1], tensor.shape[3]
    hidden = heads * size if isinstance(heads, int) and isinstance(size, int) else -1
    swapped = graph.insert("Transpose", tensor, at=at, attrs={"perm": [0, 2, 1, 3]})
    return graph.insert("Reshape", swapped, np.array([0, 0, hidden], np.int64), at=at, name="join_heads")


def repeat_heads(graph: GraphView, tensor: Any, times: int, at: Any) -> Any:
    """Every head ``times`` times, one after the other: what grouped query attention does to keys and values.

    The number of heads and the size of one must be known.

    Measured on two layers of 8 heads over 2, FP16, with a mask: 17 kernels this way, 19 with the group in the rows of
    Q, 28 and no fused attention with the group as an axis of its own.
    """
    heads, size = int(tensor.shape[1]), int(tensor.shape[3])
    apart = graph.insert("Unsqueeze", tensor, np.array([2], np.int64), at=at)
    many = graph.insert("Expand", apart, np.array([1, 1, times, 1, 1], np.int64), at=at)
    shape = np.array([0, heads * times, -1, size], np.int64)
    repeated = graph.insert("Reshape", many, shape, at=at, name="repeat_heads")
    repeated.shape = [tensor.shape[0], heads * times, *tensor.shape[2:]]
    return repeated


def additive(graph: GraphView, mask: Any, dtype: DTypeLike, at: Any) -> Any:
    """A mask that says where to look as one to be added: 0 there, -inf elsewhere; made once for all that read it."""
    kind = onnx_type(dtype)
    for cast in graph.readers(mask):
        if cast.op == "Cast" and cast.attrs.get("to") == kind and graph.owns(cast):
            made = [r for r in graph.readers(cast.outputs[0]) if r.op == "Log" and graph.owns(r)]
            if made:
                return made[0].outputs[0]
    number = graph.insert("Cast", mask, at=at, attrs={"to": kind}, name="mask")
    return graph.insert("Log", number, at=at, name="additive_mask")


def additive_values(mask: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """The same for a constant mask, with the lowest number in the place of -inf: no row may be masked throughout."""
    return np.where(mask, 0, np.finfo(dtype).min).astype(dtype)


def length(graph: GraphView, tensor: Any, axis: int, at: Any) -> Any:
    """The size of an axis at run time, as a scalar."""
    size = graph.insert("Shape", tensor, at=at, attrs={"start": axis, "end": axis + 1})
    return graph.insert("Squeeze", size, np.array([0], np.int64), at=at)


def causal(graph: GraphView, query: Any, key: Any, past: Any, at: Any) -> Any:
    """Where query i may look at key j: j <= i + past; [queries, keys], computed.

    Args:
        graph: The view.
        query: 4D.
        key: 4D, with what is past.
        past: The keys that came before the first query, 4D; None for none.
        at: The node that it is for.
    """
    zero, one = np.array(0, np.int64), np.array(1, np.int64)
    i = graph.insert("Range", zero, length(graph, query, 2, at), one, at=at)
    if past is not None:
        i = graph.insert("Add", i, length(graph, past, 2, at), at=at)
    j = graph.insert("Range", zero, length(graph, key, 2, at), one, at=at)
    i = graph.insert("Unsqueeze", i, np.array([1], np.int64), at=at)
    return graph.insert("GreaterOrEqual", i, j, at=at, name="causal")


def attend(
    graph: GraphView,
    query: Any,
    key: Any,
    value: Any,
    *,
    at: Any,
    scale: float,
    softcap: float = 0.0,
    mask: Any = None,
    guarded: bool = False,
    softmax_type: int | None = None,
) -> Any:
    """Softmax(scale Q K' + mask) V, all 4D.

    Args:
        graph: The view.
        query: [batch, heads, queries, size].
        key: [batch, heads, keys, size].
        value: [batch, heads, keys, size of its own].
        at: The node that it is for.
        scale: Goes to the query: it is the smallest, and the scores stay in range. The count of kernels is the same
            with the scale on the key, on both, or on the scores.
        softcap: c in c tanh(scores / c), before the mask; 0 for none.
        mask: To be added to the scores.
        guarded: Whether a row may be masked throughout: it gives zeros. TensorRT takes the guard into its kernel.
        softmax_type: ONNX's number of the element type to take the softmax in; None for the scores' own.
    """
    dtype: Any = graph.dtype(query)
    if scale != 1:
        query = graph.insert("Mul", query, np.array(scale, dtype), at=at, name="scale")
    turned = graph.insert("Transpose", key, at=at, attrs={"perm": [0, 1, 3, 2]})
    scores = graph.insert("MatMul", query, turned, at=at, name="scores")
    if softcap:
        inner = graph.insert("Div", scores, np.array(softcap, dtype), at=at)
        scores = graph.insert("Mul", graph.insert("Tanh", inner, at=at), np.array(softcap, dtype), at=at)
    if mask is not None:
        scores = graph.insert("Add", scores, mask, at=at, name="masked")
    if softmax_type is not None:
        scores = graph.insert("Cast", scores, at=at, attrs={"to": softmax_type})
    weights = graph.insert("Softmax", scores, at=at, attrs={"axis": -1})
    if softmax_type is not None:
        weights = graph.insert("Cast", weights, at=at, attrs={"to": onnx_type(dtype)})
    if guarded:
        dead = graph.insert("IsNaN", weights, at=at)
        weights = graph.insert("Where", dead, np.array(0, dtype), weights, at=at)
    return graph.insert("MatMul", weights, value, at=at, name="attended")
