"""A constant factor or addend after a normalisation becomes its scale and bias.

The two are where TensorRT expects them, and Q/DQ has nothing to stand between.

Algebra: (s n + b) c = (s c) n + b c and (s n + b) + c = s n + (b + c), taken in float64.
Axes: for LayerNormalization and RMSNormalization the constant runs along the normalised axes, the last ones; for
InstanceNormalization and GroupNormalization along axis 1, the channels.

ONNX: LayerNormalization 17, RMSNormalization 23 (no bias), InstanceNormalization 1 to 22, GroupNormalization 21
(before, its scale had an entry a group); Mul, Add 7 to 14.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPS = ("Mul", "Add")
AFTER = ("constant_nodes", "layer_norm", "rms_norm", "group_norm")
_LAST = ("LayerNormalization", "RMSNormalization")


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Takes the constant into the normalisation before the node."""
    operands = graph.with_constant(node)
    if operands is None:
        return None
    tensor, constant = operands
    norm = graph.producer(tensor, *_LAST, "InstanceNormalization", "GroupNormalization")
    if norm is None or (norm.op == "GroupNormalization" and graph.opset < 21):
        return None
    if norm.op == "RMSNormalization" and node.op == "Add":
        return None
    graph.need(graph.sole_use(tensor), "another node reads the result before")
    weights = [t for t in norm.inputs[1:3] if t.name]
    graph.need(all(graph.is_constant(t) for t in weights), "its scale is computed at run time")
    scale = graph.weight(weights[0])
    x = norm.inputs[0]
    vector = _over_last(constant, scale, graph.rank(x)) if norm.op in _LAST else graph.along_axis(constant, 1, x)
    graph.need(vector is not None, "the constant varies along another axis, or the shape is not known")

    def absorb() -> None:
        factor = np.asarray(vector, np.float64)
        old = np.asarray(graph.weight(weights[1]) if len(weights) > 1 else np.zeros_like(scale), np.float64)
        first, second = (scale * factor, old * factor) if node.op == "Mul" else (scale, old + factor)
        inputs = [x, graph.new_constant(f"{node.name}_scale", first.astype(scale.dtype))]
        if len(weights) > 1 or node.op == "Add":
            inputs.append(graph.new_constant(f"{node.name}_bias", second.astype(scale.dtype)))
        norm.inputs = inputs
        graph.absorb(node, norm)

    return Edit(f"taken into {norm.name}", absorb)


def _over_last(constant: NDArray[Any], scale: NDArray[Any], rank: int | None) -> NDArray[Any] | None:
    """The constant over the normalised axes; None where it varies along others or adds some."""
    extra = max(constant.ndim - scale.ndim, 0)
    if extra and (rank is None or constant.ndim > rank):
        return None
    try:
        return np.broadcast_to(constant, (1,) * extra + scale.shape).reshape(scale.shape)
    except ValueError:
        return None
