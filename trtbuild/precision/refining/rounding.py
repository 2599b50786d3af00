"""Rounds weights so that the errors of one product make up for each other: GPTQ, on what INT8 makes of the activation.

For Y = X W with the activation read as Xq, the squared error of Xq Wq is least over real Wq at

    W* = (H + d I)^-1 (Xq' X + d I) W,   H = Xq' Xq.

W* is rounded one input channel after the other; each one's rounding error e_i is handed on to the channels still to
come, where H says that they make up for it best: W_j -= e_i U_ij / U_ii with U the upper Cholesky factor of
(H + d I)^-1, the most powerful channels first. ``d`` keeps channels that were hardly seen near their own weights.
Numbers and scales are ordinary ones: nothing is added to the graph.

What one node gets depends on the FP32 activations and on that node alone, so it holds whatever else is quantised.
Sources: GPTQ (Frantar et al. 2022); Optimal Brain Compression (Frantar and Alistarh 2022).

Axes: MatMul [in, out]; Gemm [in, out] or, with transB, [out, in].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from trtbuild.artifacts import CalibrationTable
from trtbuild.content import feed_digest, json_digest
from trtbuild.onnxfile import reads
from trtbuild.precision.refining.moments import Moments, Wanted, moments
from trtbuild.precision.thresholds import ranges_for
from trtbuild.quantization import (
    FORMATS,
    FormatName,
    NumberFormat,
    Placement,
    QuantizedNode,
    QuantizedWeight,
    quantize_weight,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto

    from trtbuild.feeds import Sample

    Floats = NDArray[np.float64]

DAMPING = 0.1
"""``d`` as a share of the mean diagonal of H. On MiniLM's calibration rows kept apart 0.1 does better than 0.001,
0.01 and 0.3: calibration sets are small, and a wide activation has as many channels as some of them have rows."""
WIDEST = 8192
"""Channels of the widest activation whose readers are rounded so: H is as large as its square."""
_BLOCK = 128  # channels that are rounded before the rest hears of it, for speed alone


def round_weights(
    model: ModelProto,
    placement: Placement,
    table: CalibrationTable,
    samples: Iterable[Sample],
    *,
    formats: Mapping[str, FormatName] | FormatName = "int8",
    clip_weights: bool = False,
) -> dict[str, QuantizedWeight]:
    """Rounds the weights of the nodes that can be.

    Args:
        model: The FP32 model, weights in memory.
        placement: Its quantised nodes.
        table: Its calibration table.
        samples: What the activations are measured on; not those that judge the result.
        formats: What each node's weight is stored in, as for ``write_qdq``.
        clip_weights: As for ``write_qdq``: the scales are the same.

    Returns:
        Node to its weight; those that are no product with a constant matrix of their own are left out.
    """
    import numpy as np
    from onnx import numpy_helper

    kinds = {n.node: FORMATS[formats if isinstance(formats, str) else formats[n.node]] for n in placement.nodes}
    stored = {t.name: t for t in model.graph.initializer}
    readers: dict[Wanted, list[QuantizedNode]] = {}
    amax = ranges_for(table, placement, {n: k.name for n, k in kinds.items()})[0]
    for node in _products(model, placement):
        shape = tuple(stored[node.weight].dims)
        if shape[node.reduced_axis] <= WIDEST:
            scale = _scale(amax, node.activation, kinds[node.node])
            readers.setdefault(Wanted(node.activation, shape[node.reduced_axis], scale), []).append(node)
    found = {}
    for wanted, seen in moments(model, list(readers), list(samples)):
        for node in readers[wanted]:
            weight = numpy_helper.to_array(stored[node.weight]).astype(np.float64)
            kind = kinds[node.node]
            plain = quantize_weight(weight, kind, axis=node.axis, reduced_axis=node.reduced_axis, clip=clip_weights)
            found[node.node] = _rounded(weight, plain, kind, node.reduced_axis, seen)
    return found


def rounding_digest(rounded: Mapping[str, QuantizedWeight]) -> str:
    """SHA-256 of rounded weights."""
    return json_digest({n: feed_digest({"numbers": w.numbers, "scale": w.scale}) for n, w in rounded.items()})


def _products(model: ModelProto, placement: Placement) -> list[QuantizedNode]:
    """The products with one matrix that no other node reads, whose activation's channels lie along its last axis."""
    ranks = {t.name: len(t.dims) for t in model.graph.initializer}
    uses = Counter(name for node in model.graph.node for name in reads(node))
    flipped = {n.name for n in model.graph.node if any(a.name == "transA" and a.i for a in n.attribute)}
    return [
        n
        for n in placement.nodes
        if n.op in ("MatMul", "Gemm") and ranks[n.weight] == 2 and uses[n.weight] == 1 and n.node not in flipped
    ]


def _scale(amax: Mapping[str, float], tensor: str, kind: NumberFormat) -> float | None:
    """The scale an activation is read through; FP8's is left out, for it rounds relative to each value."""
    if not kind.activations or kind.element != "INT8":
        return None
    exact = amax[tensor] / kind.largest
    return max(exact, kind.smallest_scale(exact))


def _rounded(
    weight: Floats, plain: QuantizedWeight, kind: NumberFormat, reduced_axis: int, seen: Moments
) -> QuantizedWeight:
    """The same scales with other numbers."""
    import numpy as np

    scales = np.broadcast_to(plain.spread().astype(np.float64), weight.shape)
    laid, steps = (np.moveaxis(a, reduced_axis, 0) for a in (weight, scales))
    numbers = np.moveaxis(compensate(laid, steps, kind, seen.square, seen.cross), 0, reduced_axis)
    return replace(plain, numbers=numbers.astype(np.float32))


def compensate(weight: Floats, scales: Floats, kind: NumberFormat, square: Floats, cross: Floats) -> Floats:
    """The numbers of a matrix, each input channel's error made up for by those after it.

    Args:
        weight: Shape ``[in, out]``.
        scales: The scale of each weight, in the same shape.
        kind: What the numbers are.
        square: Xq' Xq, shape ``[in, in]``.
        cross: Xq' X, in the same shape.
    """
    import numpy as np

    damping = max(DAMPING * float(np.trace(square)) / len(square), 1e-30) * np.eye(len(square))
    damped = square + damping
    best = np.linalg.solve(damped, (cross + damping) @ weight)
    order = np.argsort(-np.diag(damped), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    left, steps = best[order], scales[order]
    numbers = np.zeros_like(left)
    for start in range(0, len(left), _BLOCK):
        end = min(start + _BLOCK, len(left))
        errors = np.zeros((end - start, left.shape[1]))
        for i in range(start, end):
            numbers[i] = kind.round(left[i] / steps[i])
            errors[i - start] = (left[i] - numbers[i] * steps[i]) / upper[i, i]
            left[i + 1 : end] -= np.outer(upper[i, i + 1 : end], errors[i - start])
        left[end:] -= upper[start:end, end:].T @ errors
    back = np.empty_like(numbers)
    back[order] = numbers
    return back
