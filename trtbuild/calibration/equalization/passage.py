"""How channel factors pass through a graph, operator by operator: carried on, taken up, made, or pinned.

An operator that is not here pins all that it reads. ONNX 17 to 23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trtbuild.calibration.equalization import folding
from trtbuild.calibration.equalization.folding import Said, attribute
from trtbuild.calibration.equalization.layouts import Layout, axes_after
from trtbuild.onnxfile import reads

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from trtbuild.calibration.equalization.channels import ChannelMap

_ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Relu", "LeakyRelu", "Identity", "HardSwish", "Gelu", "Sigmoid", "Clip")
_ALONG_ONE = ("Conv", "ConvTranspose", "BatchNormalization", "GlobalAveragePool", "AveragePool", "MaxPool")


def preferred_axes(
    model: ModelProto, shapes: Mapping[str, tuple[int, ...]], constants: Mapping[str, Any]
) -> dict[str, int]:
    """The axis of each tensor's channels, as its readers see it."""
    found: dict[str, int] = {}
    for node in reversed(model.graph.node):
        if not node.input or node.input[0] not in shapes:
            continue
        if node.op_type in _ALONG_ONE:
            found[node.input[0]] = 1
        elif node.op_type in ("MatMul", "Gemm") and node.input[1] in constants:
            found[node.input[0]] = len(shapes[node.input[0]]) - 1
        elif node.op_type in _ELEMENTWISE and node.output[0] in found:
            for name in node.input:
                if shapes.get(name) == shapes.get(node.output[0]):
                    found.setdefault(name, found[node.output[0]])
    return found


def visit(channels: ChannelMap, index: int, node: NodeProto) -> None:
    """Tells a map what a node does to the factors; nodes come in the graph's order."""
    if node.op_type in ("Shape", "Size"):
        return
    handler = _HANDLERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    known = all(t in channels.shapes for t in (*node.input, *node.output) if t)
    said = handler(channels, index, node) if handler and known else f"{node.op_type} reads it"
    if isinstance(said, str):
        for name in reads(node):
            channels.pin(name, said)
    elif said is not None:
        channels.at[node.output[0]] = said


def _carry(channels: ChannelMap, _index: int, node: NodeProto) -> Said:
    """Operators that work on each channel alone, and commute with a positive factor."""
    read = channels.at.get(node.input[0])
    if read is None:
        return None
    before, after = channels.shapes[node.input[0]], channels.shapes[node.output[0]]
    same = len(before) == len(after) and all(before[a] == after[a] for a in read.axes)
    return read if same else f"{node.op_type} changes its channels"


def _clip(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """Clip to [0, infinity) is ReLU; any other limit would have to move with the factor."""
    limits = [channels.constant(t) if t else None for t in (*node.input[1:], "", "")[:2]]
    low, high = limits
    if low is None or float(low) != 0 or (len(node.input) > 2 and node.input[2] and high is None) or high is not None:
        return "Clip has a limit other than zero"
    return _carry(channels, index, node)


def _reshape(channels: ChannelMap, _index: int, node: NodeProto) -> Said:
    read = channels.at.get(node.input[0])
    if read is None:
        return None
    axes = axes_after(channels.shapes[node.input[0]], read.axes, channels.shapes[node.output[0]])
    return f"{node.op_type} mixes its channels" if axes is None else Layout(axes, read.numbers)


def _transpose(channels: ChannelMap, _index: int, node: NodeProto) -> Said:
    read = channels.at.get(node.input[0])
    if read is None:
        return None
    rank = len(channels.shapes[node.input[0]])
    order = list(attribute(node, "perm", range(rank)[::-1]))
    return Layout(tuple(order.index(a) for a in read.axes), read.numbers)


def _pooled(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """MaxPool, whose indices nobody may read, for they are no values."""
    return _carry(channels, index, node) if len(node.output) == 1 else "MaxPool gives indices as well"


def _reduce(channels: ChannelMap, _index: int, node: NodeProto) -> Said:
    """Means, sums and extrema over other axes than the channels'."""
    read = channels.at.get(node.input[0])
    if read is None:
        return None
    rank = len(channels.shapes[node.input[0]])
    given = channels.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else attribute(node, "axes", None)
    if given is None or {int(a) % rank for a in given} & set(read.axes):
        return f"{node.op_type} mixes its channels"
    gone = {int(a) % rank for a in given}
    if attribute(node, "keepdims", 1):
        return read
    return Layout(tuple(a - sum(g < a for g in gone) for a in read.axes), read.numbers)


def _pad(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    filled = channels.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else 0
    if attribute(node, "mode", b"constant") == b"constant" and (filled is None or np.any(filled)):
        return "Pad fills it with a constant"
    amounts = channels.constant(node.input[1]) if len(node.input) > 1 else None
    if amounts is None or len(node.input) > 3 or not _outside(channels, node, np.flatnonzero(amounts)):
        return "Pad moves its channels"
    return _carry(channels, index, node)


def _outside(channels: ChannelMap, node: NodeProto, axes: Any) -> bool:
    """Whether none of some axes is one of the channels'; begins and ends of a Pad count twice."""
    read, rank = channels.at.get(node.input[0]), len(channels.shapes[node.input[0]])
    return read is None or not {int(a) % rank for a in axes} & set(read.axes)


def _slice(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """Slice along other axes; along the channels' it may turn them round and keep their count."""
    rank = len(channels.shapes[node.input[0]])
    axes = channels.constant(node.input[3]) if len(node.input) > 3 and node.input[3] else range(rank)
    if axes is None or not _outside(channels, node, axes):
        return "Slice takes some of its channels"
    return _carry(channels, index, node)


def _resize(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    if attribute(node, "coordinate_transformation_mode", b"half_pixel") == b"tf_crop_and_resize":
        return "Resize fills it with a constant"
    rank = len(channels.shapes[node.input[0]])
    if len(node.input) > 2 and node.input[2]:  # a scale of 1.05 can keep the count and mix neighbours all the same
        scales = channels.constant(node.input[2])
        axes = attribute(node, "axes", range(rank))
        if scales is None or not _outside(channels, node, [a for a, s in zip(axes, scales, strict=True) if s != 1]):
            return "Resize mixes its channels"
    return _carry(channels, index, node)


def _prelu(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    return _carry(channels, index, node) if node.input[1] in channels.constants else "PRelu has a computed slope"


def _concat(channels: ChannelMap, _index: int, node: NodeProto) -> Said:
    """Along the channels one row of numbers after the other; along another axis they become the same."""
    layouts = [channels.at.get(t) for t in node.input]
    known = [each for each in layouts if each is not None]
    if not known:
        return None
    axis = attribute(node, "axis", 0) % len(channels.shapes[node.output[0]])
    if known[0].axes != (axis,):
        return "Concat mixes its channels"
    parts = []
    for name, each in zip(node.input, layouts, strict=True):
        if each is None or each.axes != (axis,):
            channels.pin(name, "Concat mixes its channels")
            numbers = channels.fresh(channels.shapes[name][axis])
            channels.hold(numbers, "what cannot be scaled is beside it")
        else:
            numbers = each.numbers
        parts.append(numbers)
    return Layout((axis,), np.concatenate(parts))


def _split(channels: ChannelMap, _index: int, node: NodeProto) -> Said:
    read = channels.at.get(node.input[0])
    if read is None:
        return None
    axis = attribute(node, "axis", 0) % len(channels.shapes[node.input[0]])
    if axis in read.axes and read.axes != (axis,):
        return "Split cuts through its channels"
    start = 0
    for name in node.output:
        width = channels.shapes[name][axis]
        part = read.numbers[start : start + width] if read.axes == (axis,) else read.numbers
        channels.at[name] = Layout(read.axes, part)
        start += width
    return None


_HANDLERS: Mapping[str, Callable[[ChannelMap, int, NodeProto], Said]] = {
    "Conv": folding.conv,
    "ConvTranspose": folding.conv_transpose,
    "MatMul": folding.matmul,
    "Gemm": folding.gemm,
    "BatchNormalization": folding.batch_norm,
    "LayerNormalization": folding.layer_norm,
    "RMSNormalization": folding.layer_norm,
    "InstanceNormalization": folding.instance_norm,
    "GroupNormalization": folding.instance_norm,
    "Mul": folding.product,
    "Div": folding.product,
    "Add": folding.total,
    "Sub": folding.total,
    "Max": folding.together,
    "Min": folding.together,
    "Sum": folding.together,
    "Clip": _clip,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Transpose": _transpose,
    "MaxPool": _pooled,
    "Pad": _pad,
    "Slice": _slice,
    "Resize": _resize,
    "PRelu": _prelu,
    "Concat": _concat,
    "Split": _split,
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"), _reduce),
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "Identity", "Dropout", "Abs", "Neg", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
        _carry,
    ),
}
