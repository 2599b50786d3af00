"""Q, K and V that come from one product are brought into heads together, and split after that.

A Split of the product's columns, then for each part a bias, a Reshape into heads and a Transpose, are three or more
kernels; one bias, one Reshape and one Transpose with the Split along the heads are one. Small opset-23 exports, FP16
kernels, after qkv_merge: bert 23 become 21, minilm 56 become 54, swin 54 become 46, vit 24 become 22, llama 23 become
22, t5 encoder 29 become 22. The Split before the Transpose costs one kernel more in llama and two in t5; an axis of its
own for Q, K and V costs more than it saves (bert 25). A norm of Q and K before their Transposes leaves all Transposes
where they are: qwen3 31 become 28. Without any Transpose it is no attention, and costs (rt_detr 179 would be 188).

Algebra: columns [h size] of a part are h whole heads, so parting columns and parting heads is the same thing, and a
bias, a Reshape and a Transpose that do the same to each head may go before it. A factor is left behind each part.
Axes: the product is [..., sum of h_i size], the heads [rows, columns, sum of h_i, size], all parts of one size of head.

ONNX: Split 2 to 18, Add and Mul 7 to 14, Reshape 5 to 25, Transpose 1 to 25.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView
from trtbuild.rewriter.sizes import copies_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPS = ("Split",)
AFTER = ("constant_nodes", "qkv_merge")
_TO_HEADS = [0, 2, 1, 3]
_TO_TURNED_HEADS = [0, 2, 3, 1]  # the keys', ready for the product with the queries


@dataclass(frozen=True)
class _Part:
    """What becomes of one part: a bias, a factor, a Reshape to ``shape``, whose rows may be the part's; Transposes."""

    width: int
    bias: NDArray[Any] | None
    factor: Any
    reshape: Any
    shape: tuple[Any, ...]
    copies_rows: bool
    transposes: tuple[Any, ...]


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Moves the Split behind the heads."""
    source = node.inputs[0]
    rank = graph.rank(source)
    if rank is None or node.attrs.get("axis", 0) not in (-1, rank - 1) or len(node.outputs) < 2:
        return None
    found = [_part(t, rank, graph) for t in node.outputs]
    parts = [p for p in found if p is not None]
    if len(parts) < len(found) or not any(p.transposes for p in parts):
        return None
    sizes = {p.shape[3] for p in parts}
    heads = [p.shape[2] for p in parts]
    whole = all(h * s == p.width for h, s, p in zip(heads, (p.shape[3] for p in parts), parts, strict=True))
    graph.need(len(sizes) == 1 and whole, "the parts are not whole heads of one size")
    rows = _rows(parts, rank, graph)
    graph.need(rows is not None, "it is not known that the parts get the same rows and columns")
    size = sizes.pop()
    together = all(p.transposes for p in parts)
    like_source = isinstance(rows, np.ndarray) and not rows.any()

    def move() -> None:
        x = source
        if any(p.bias is not None for p in parts):
            dtype = next(p.bias.dtype for p in parts if p.bias is not None)
            biases = [np.zeros(p.width, dtype) if p.bias is None else p.bias for p in parts]
            x = graph.insert("Add", x, np.concatenate(biases), at=node, name="bias")
        tail = np.array([sum(heads), size], np.int64)
        if isinstance(rows, np.ndarray):
            shape = np.concatenate([rows, tail])
        else:
            first = graph.insert("Slice", rows, np.array([0], np.int64), np.array([2], np.int64), at=node)
            shape = graph.insert("Concat", first, tail, at=node, attrs={"axis": 0})
        zero = 0 if like_source else parts[0].reshape.attrs.get("allowzero", 0)
        x = graph.insert("Reshape", x, shape, at=node, name="heads", attrs={"allowzero": zero})
        x.shape = [*parts[0].shape[:2], sum(heads), size]
        if together:
            x = graph.insert("Transpose", x, at=node, attrs={"perm": _TO_HEADS})
        axis = {"axis": 1 if together else 2}
        counts = np.array(heads, np.int64)
        apart = graph.insert("Split", x, counts, at=node, attrs=axis, outputs=len(parts), name="heads_split")
        for part, heads_of in zip(parts, apart, strict=True):
            result = heads_of
            if part.factor is not None:
                result = graph.insert("Mul", result, part.factor, at=node)
            if not together:
                graph.substitute(part.reshape, result)
                continue
            keys = [n for n in part.transposes if n.attrs["perm"] == _TO_TURNED_HEADS]
            if keys:
                turned = graph.insert("Transpose", result, at=node, attrs={"perm": [0, 1, 3, 2]})
                _replace(keys, turned, graph)
            _replace([n for n in part.transposes if n.attrs["perm"] == _TO_HEADS], result, graph)

    covers = tuple(n.name for p in parts for n in (p.reshape, *(p.transposes if together else ())))
    return Edit("into heads first, then apart", move, covers)


def _part(tensor: Any, rank: int, graph: GraphView) -> _Part | None:
    """What becomes of a part, where that is a bias, a factor and a Reshape to four axes."""
    width, bias, factor = tensor.shape[-1] if tensor.shape else None, None, None
    node = _reader(tensor, graph)
    if node is not None and node.op == "Add":
        operands = graph.with_constant(node)
        bias = None if operands is None else graph.along_axis(operands[1], rank - 1, tensor)
        node = _reader(node.outputs[0], graph) if bias is not None else None
    if node is not None and node.op == "Mul":
        factor = next((t for t in node.inputs if graph.scalar(t) is not None and t.values.ndim <= 1), None)
        node = _reader(node.outputs[0], graph) if factor is not None else None
    if node is None or node.op != "Reshape" or not isinstance(width, int) or graph.is_output(node.outputs[0]):
        return None
    copies = rank == 3 and copies_axes(graph, node.inputs[1], node.inputs[0], 2)
    shape = _into_heads(node, width, graph, copies=copies)
    turns = tuple(graph.readers(node.outputs[0]))
    if shape is None or not turns:
        return None
    return _Part(width, bias, factor, node, shape, copies, turns if all(_turns(n, graph) for n in turns) else ())


def _reader(tensor: Any, graph: GraphView) -> Any | None:
    """The one node that reads the tensor's numbers; others may ask for its shape, which they get as before."""
    readers = [n for n in graph.readers(tensor) if n.op != "Shape"]
    return readers[0] if len(readers) == 1 and graph.owns(readers[0]) and not graph.is_output(tensor) else None


def _replace(nodes: list[Any], result: Any, graph: GraphView) -> None:
    """Puts one result in the place of several nodes: under the name of the first one's."""
    for node in nodes:
        name = node.outputs[0]
        graph.substitute(node, result)
        result = name if name.inputs else result


def _turns(node: Any, graph: GraphView) -> bool:
    return node.op == "Transpose" and graph.owns(node) and node.attrs.get("perm") in (_TO_HEADS, _TO_TURNED_HEADS)


def _into_heads(reshape: Any, width: int, graph: GraphView, *, copies: bool) -> tuple[Any, ...] | None:
    """What a Reshape makes: rows, columns, heads, size of a head, the last two as numbers; None where they are not."""
    before, shape = graph.shape(reshape.inputs[0]), graph.shape(reshape.outputs[0])
    if shape is None or before is None or len(shape) != 4 or not isinstance(shape[3], int) or shape[3] < 1:
        return None
    if isinstance(shape[2], int):
        return shape
    kept = copies or (None not in shape[:2] and shape[:2] == before[:-1])  # so the heads are what is left of the width
    return (*shape[:2], width // shape[3], shape[3]) if kept else None


def _rows(parts: list[_Part], rank: int, graph: GraphView) -> NDArray[Any] | Any | None:
    """The first two axes that all parts are reshaped to: as numbers, or the tensor that begins with them; or None."""
    first = parts[0].reshape
    named = [[d for d in p.shape[:2] if isinstance(d, (int, str)) and d != ""] for p in parts]
    alike = all(len(n) == 2 and n == named[0] for n in named)
    if all(p.copies_rows for p in parts) or (alike and rank == 3 and named[0] == list(first.inputs[0].shape[:2])):
        return np.array([0, 0], np.int64)
    if alike:
        return first.inputs[1]
    if any(p.reshape.attrs.get("allowzero", 0) != first.attrs.get("allowzero", 0) for p in parts):
        return None
    if all(p.reshape.inputs[1] is first.inputs[1] for p in parts):
        return first.inputs[1]
    given = [graph.constant(p.reshape.inputs[1]) for p in parts]
    same = all(g is not None and given[0] is not None and (g[:2] == given[0][:2]).all() for g in given)
    return given[0][:2] if same and given[0] is not None else None
