"""DFT becomes a product with a constant matrix.

Algebra: Y[k] = sum over n of x[n] exp(-2 pi i n k / N), with + and 1 / N for the inverse. With real and imaginary parts
side by side that is one real matrix [n * parts, k * parts]. One-sided keeps k up to N / 2; the inverse of a one-sided
spectrum takes the other half as its conjugate. A shorter signal is filled up with zeros, a longer one is cut. The
matrix is computed in float64.
Axes: the signal's axis and the last one (real and imaginary part) are moved to the end and flattened; the signal's size
must be known, all others stay dynamic. The matrix has (n * N) * parts elements: for lengths up to a few thousand.

ONNX: DFT 17 (``axis`` is an attribute) and 20 (``axis`` is input 2, the default is the last but one).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("DFT",)
AFTER = ("constant_nodes",)
_LARGEST = 1 << 24  # elements of the matrix


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the transform."""
    signal = node.inputs[0]
    shape: Any = graph.shape(signal)
    graph.need(shape is not None, "the rank is not known")
    given = [graph.constant(t) if t.name else None for t in node.inputs[1:3]]
    constant = all(v is not None for v, t in zip(given, node.inputs[1:3], strict=True) if t.name)
    graph.need(constant, "its length or its axis is not constant")
    rank = len(shape)
    axis = node.attrs.get("axis", 1) if graph.opset < 20 else -2
    if len(given) > 1 and given[1] is not None:
        axis = int(given[1].item())
    axis %= rank
    size, parts = shape[axis], shape[-1]
    graph.need(isinstance(size, int) and isinstance(parts, int), "the size of the signal's axis is not known")
    onesided, inverse = bool(node.attrs.get("onesided")), bool(node.attrs.get("inverse"))
    spectrum = onesided and inverse  # of a real signal
    length = int(given[0].item()) if given and given[0] is not None else 2 * (size - 1) if spectrum else size
    graph.prefer(str(graph.dtype(signal)) == "float32", "it is not of 32-bit floats")
    graph.prefer(size * parts * length * 2 <= _LARGEST, "its matrix would be large")
    matrix = _matrix(size, parts, length, onesided=onesided, inverse=inverse).astype(np.float32)
    order = [i for i in range(rank - 1) if i != axis] + [axis, rank - 1]
    kept = 1 if spectrum else 2

    def replace() -> None:
        value = graph.insert("Transpose", signal, at=node, attrs={"perm": order}) if order != sorted(order) else signal
        lead = [0] * (rank - 2)
        value = graph.insert("Reshape", value, np.array([*lead, size * parts], np.int64), at=node)
        value = graph.insert("MatMul", value, matrix, at=node)
        value = graph.insert("Reshape", value, np.array([*lead, matrix.shape[1] // kept, kept], np.int64), at=node)
        if order != sorted(order):
            back = [order.index(i) for i in range(rank)]
            value = graph.insert("Transpose", value, at=node, attrs={"perm": back})
        graph.substitute(node, value)

    return Edit(f"a product with a matrix of {matrix.shape[0]} by {matrix.shape[1]}", replace)


def _matrix(size: int, parts: int, length: int, *, onesided: bool, inverse: bool) -> Any:
    """[size * parts, outputs * (2, or 1 for a real signal)], row n * parts + part."""
    sign = 1 if inverse else -1
    if onesided and inverse:
        bins = min(size, length // 2 + 1)
        n, k = np.arange(bins), np.arange(length)
        turn = np.exp(2j * np.pi * (np.outer(n, k) % length) / length) / length
        twice = np.where((n == 0) | (2 * n == length), 1.0, 2.0)[:, None]
        matrix = np.zeros((size, parts, length))
        matrix[:bins, 0] = turn.real * twice
        if parts == 2:
            matrix[:bins, 1] = -turn.imag * twice
        return matrix.reshape(size * parts, length)
    used = min(size, length)
    n, k = np.arange(used), np.arange(length // 2 + 1 if onesided else length)
    turn = np.exp(sign * 2j * np.pi * (np.outer(n, k) % length) / length) / (length if inverse else 1)
    matrix = np.zeros((size, parts, len(k), 2))
    matrix[:used, 0, :, 0], matrix[:used, 0, :, 1] = turn.real, turn.imag
    if parts == 2:
        matrix[:used, 1, :, 0], matrix[:used, 1, :, 1] = -turn.imag, turn.real
    return matrix.reshape(size * parts, len(k) * 2)
