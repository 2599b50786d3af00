"""Which nodes of a placement a number format does something for.

A node that only gains a kernel is better left in float. What an engine does with each form was seen in the layers that
TensorRT-RTX 1.7.1 lists for SM75 to SM120; TensorRT 10 and 11 on a GPU were not asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trtbuild.quantization.formats import FORMATS, FormatName, NumberFormat
from trtbuild.quantization.placement import Placement, QuantizedNode

if TYPE_CHECKING:
    from onnx import ModelProto


def fit(placement: Placement, model: ModelProto, formats: Mapping[str, FormatName] | FormatName) -> Placement:
    """Leaves in float the nodes that their format does nothing for.

    Args:
        placement: Where pairs could go.
        model: The FP32 model; only its weights' shapes are read.
        formats: What each node of the placement shall be stored in; one word for all.

    Returns:
        The rest of the placement, with a reason for each node that was left out.
    """
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    reasons = {}
    for node in placement.nodes:
        kind = FORMATS[formats if isinstance(formats, str) else formats[node.node]]
        reason = _why_not(node, kind, shapes[node.weight])
        if reason:
            reasons[node.node] = reason
    if not reasons:
        return placement
    rest = placement.only([n.node for n in placement.nodes if n.node not in reasons])
    return Placement(rest.nodes, rest.summands, {**rest.kept, **reasons})


def _why_not(node: QuantizedNode, kind: NumberFormat, shape: Sequence[int]) -> str | None:
    if node.op == "ConvTranspose":
        return f"TensorRT-RTX has no transposed convolution that reads {kind.name}"
    if kind.activations:
        return None
    if node.op == "Conv":
        return f"a convolution does not read {kind.name}: a kernel of its own would expand the weight in every run"
    summed = shape[node.reduced_axis]
    if kind.blocks and kind.block(summed) is None:
        lengths = ", ".join(map(str, kind.blocks))
        return f"the {summed} weights that are summed make no two blocks of one length out of {lengths}"
    channels = shape[1 - node.reduced_axis] if len(shape) == 2 else shape[-1]
    if summed % 2 or (channels % 2 and channels > 1):
        return f"an odd size ({summed} x {channels}) has no product that reads {kind.name}"
    return None
