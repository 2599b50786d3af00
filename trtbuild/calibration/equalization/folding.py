"""The operators that make channels, or take factors up: weighted nodes, normalisations, constant arithmetic.

Each handler returns the layout of the node's result, or the reason why the factors of what it reads must be 1.
Axes: Conv [out, in / group, ...], ConvTranspose [in, out / group, ...], MatMul [in, out], Gemm [in, out] or, with
transB, [out, in].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trtbuild.calibration.equalization.layouts import Layout

if TYPE_CHECKING:
    from onnx import NodeProto

    from trtbuild.calibration.equalization.channels import ChannelMap

Said = Layout | str | None


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """The value of an attribute."""
    import onnx

    for each in node.attribute:
        if each.name == name:
            return onnx.helper.get_attribute_value(each)
    return default


def _weight(channels: ChannelMap, node: NodeProto, *slots: int) -> str | None:
    """Why the constants in some slots cannot take factors up; None where they can."""
    for slot in slots:
        if slot >= len(node.input) or not node.input[slot]:
            continue
        if node.input[slot] not in channels.constants:
            return f"{node.op_type} computes with a weight or bias that is no constant"
        if channels.tensors[node.input[slot]].data_type != 1:
            return "its weight is not FP32"
    return None


def _bias(channels: ChannelMap, index: int, node: NodeProto, numbers: Any) -> None:
    if len(node.input) > 2 and node.input[2]:
        channels.scale(index, 2, numbers, -1)


def conv(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """Conv: takes up factors along axis 1 of its weight, by group; makes channels along axis 0."""
    declined = _weight(channels, node, 1, 2) or _shared(channels, node)
    if declined:
        return declined
    shape = channels.constants[node.input[1]]
    group, (out, per_group) = attribute(node, "group", 1), shape[:2]
    ones = (1,) * (len(shape) - 2)
    read = channels.at.get(node.input[0])
    if read is not None:
        if read.axes != (1,):
            return "Conv reads it along another axis"
        rows = np.repeat(read.numbers.reshape(group, 1, per_group), out // group, axis=1)
        channels.scale(index, 1, rows.reshape(out, per_group, *ones), 1)
    made = channels.fresh(out)
    channels.scale(index, 1, made.reshape(out, 1, *ones), -1)
    _bias(channels, index, node, made)
    return Layout((1,), made)


def conv_transpose(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """ConvTranspose: takes up factors along axis 0 of its weight; makes channels along axis 1, by group."""
    declined = _weight(channels, node, 1, 2) or _shared(channels, node)
    if declined:
        return declined
    shape = channels.constants[node.input[1]]
    group, (into, per_group) = attribute(node, "group", 1), shape[:2]
    ones = (1,) * (len(shape) - 2)
    read = channels.at.get(node.input[0])
    if read is not None:
        if read.axes != (1,):
            return "ConvTranspose reads it along another axis"
        channels.scale(index, 1, read.numbers.reshape(into, 1, *ones), 1)
    made = channels.fresh(group * per_group)
    columns = np.repeat(made.reshape(group, 1, per_group), into // group, axis=1)
    channels.scale(index, 1, columns.reshape(into, per_group, *ones), -1)
    _bias(channels, index, node, made)
    return Layout((1,), made)


def matmul(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """MatMul: by a constant matrix like a Conv; of two activations the right one's columns travel on (attention)."""
    left, right = node.input[:2]
    if right not in channels.constants:
        return _attention(channels, node)
    declined = _weight(channels, node, 1) or _shared(channels, node)
    if declined or len(channels.constants[right]) != 2:
        return declined or "its weight is a stack of matrices"
    read = channels.at.get(left)
    if read is not None:
        if read.axes != (len(channels.shapes[left]) - 1,):
            return "MatMul reads it along another axis"
        channels.scale(index, 1, read.numbers[:, None], 1)
    made = channels.fresh(channels.constants[right][1])
    channels.scale(index, 1, made[None, :], -1)
    return Layout((len(channels.shapes[node.output[0]]) - 1,), made)


def _attention(channels: ChannelMap, node: NodeProto) -> Said:
    left, right = node.input[:2]
    values = channels.at.get(right)
    channels.pin(left, "MatMul multiplies it with another activation")
    if values is None:
        return None
    made, read = channels.shapes[node.output[0]], channels.shapes[right]
    batch = len(read) - 2
    summed = batch in values.axes
    if summed or len(made) != len(read) or made[:batch] != read[:batch] or len(channels.shapes.get(left, ())) < 2:
        return "MatMul multiplies it with another activation"
    return values


def gemm(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """Gemm: as MatMul; its third input is divided like a bias."""
    declined = _weight(channels, node, 1, 2) or _shared(channels, node)
    if declined or attribute(node, "transA", 0):
        return declined or "Gemm transposes it"
    flipped = attribute(node, "transB", 0)
    shape = channels.constants[node.input[1]]
    read = channels.at.get(node.input[0])
    if read is not None:
        if read.axes != (1,):
            return "Gemm reads it along another axis"
        channels.scale(index, 1, read.numbers[None, :] if flipped else read.numbers[:, None], 1)
    made = channels.fresh(shape[0] if flipped else shape[1])
    channels.scale(index, 1, made[:, None] if flipped else made[None, :], -1)
    _bias(channels, index, node, made)
    return Layout((1,), made)


def _shared(channels: ChannelMap, node: NodeProto) -> str | None:
    """A weight of several nodes would have to be stored once for each."""
    return "its reader's weight is shared by other nodes" if channels.shared(node.input[1]) else None


def batch_norm(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """BatchNormalization: scale and bias make channels; scale and mean take factors up (the variance stays)."""
    declined = _weight(channels, node, 1, 2, 3, 4)
    if declined or len(node.output) > 1 or attribute(node, "training_mode", 0):
        return declined or "BatchNormalization is in training mode"
    read = channels.at.get(node.input[0])
    if read is not None:
        if read.axes != (1,):
            return "BatchNormalization reads it along another axis"
        channels.scale(index, 1, read.numbers, 1)
        channels.scale(index, 3, read.numbers, -1)
    made = channels.fresh(channels.constants[node.input[1]][0])
    channels.scale(index, 1, made, -1)
    channels.scale(index, 2, made, -1)
    return Layout((1,), made)


def layer_norm(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """LayerNormalization and RMSNormalization over the last axis: their scale and bias make channels."""
    channels.pin(node.input[0], f"{node.op_type} mixes its channels")
    rank = len(channels.shapes[node.output[0]])
    if _weight(channels, node, 1, 2) or attribute(node, "axis", -1) not in (-1, rank - 1):
        return None
    made = channels.fresh(channels.shapes[node.output[0]][-1])
    for slot in range(1, len(node.input)):
        if node.input[slot]:
            channels.scale(index, slot, made, -1)
    return Layout((rank - 1,), made)


def instance_norm(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """InstanceNormalization and GroupNormalization: scale and bias make channels along axis 1."""
    channels.pin(node.input[0], f"{node.op_type} mixes its channels")
    width = channels.shapes[node.output[0]][1]
    if _weight(channels, node, 1, 2) or channels.constants[node.input[1]] != (width,):
        return None
    made = channels.fresh(width)
    channels.scale(index, 1, made, -1)
    channels.scale(index, 2, made, -1)
    return Layout((1,), made)


def product(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """Mul and Div: by a constant they make channels and take factors up; of two activations one is a gate."""
    slots = [s for s in (0, 1) if node.input[s] in channels.constants]
    if not slots:
        return _gated(channels, node) if node.op_type == "Mul" else f"{node.op_type} reads it"
    if slots != [1] and not (node.op_type == "Mul" and slots == [0]):
        return f"{node.op_type} reads it"
    constant, tensor = slots[0], node.input[1 - slots[0]]
    made = channels.shapes[node.output[0]]
    read = channels.at.get(tensor)
    if channels.shapes[tensor] != made or _weight(channels, node, constant):
        return f"{node.op_type} makes it larger"
    if read is not None and len(read.axes) > 1:
        by = channels.constants[node.input[constant]]
        return read if int(np.prod(by)) == 1 else f"{node.op_type} scales it by more than one axis"
    axis = read.axes[0] if read is not None else channels.preferred.get(node.output[0])
    if axis is None:
        return None
    shape = (made[axis], *(1,) * (len(made) - 1 - axis))
    power = 1 if node.op_type == "Mul" else -1
    if read is not None:
        channels.scale(index, constant, read.numbers.reshape(shape), power)
    fresh = channels.fresh(made[axis])
    channels.scale(index, constant, fresh.reshape(shape), -power)
    return Layout((axis,), fresh)


def _gated(channels: ChannelMap, node: NodeProto) -> Said:
    """Mul of two activations: the factors of one travel on, the other (a gate) keeps its own at 1."""
    left, right = node.input
    if left == right:
        return "Mul multiplies it with itself"
    made = channels.shapes[node.output[0]]
    whole = [t for t in (left, right) if t in channels.at and channels.shapes[t] == made]
    open_ones = [t for t in whole if not channels.is_pinned(t)]
    carried = (open_ones or [None])[0]
    for name in (left, right):
        if name != carried:
            channels.pin(name, "Mul multiplies it with another activation")
    return channels.at[carried] if carried is not None else None


def total(channels: ChannelMap, index: int, node: NodeProto) -> Said:
    """Add and Sub: a constant is divided along; two activations get the same factors."""
    slots = [s for s in (0, 1) if node.input[s] in channels.constants]
    if len(slots) != 1:
        return _together(channels, node)
    tensor, made = node.input[1 - slots[0]], channels.shapes[node.output[0]]
    read = channels.at.get(tensor)
    if read is None:
        return None
    if channels.shapes[tensor] != made or len(read.axes) > 1 or _weight(channels, node, slots[0]):
        return f"{node.op_type} adds a constant that cannot be divided along"
    axis = read.axes[0]
    channels.scale(index, slots[0], read.numbers.reshape(-1, *(1,) * (len(made) - 1 - axis)), -1)
    return read


def _together(channels: ChannelMap, node: NodeProto) -> Said:
    """Add, Sub, Max, Min, Sum of activations of one shape."""
    layouts = [channels.at.get(t) for t in node.input]
    first = layouts[0]
    alike = all(channels.shapes.get(t) == channels.shapes[node.output[0]] for t in node.input)
    if first is None or not alike or any(each is None or each.axes != first.axes for each in layouts):
        return f"{node.op_type} adds what cannot be scaled along"
    for each in layouts[1:]:
        if each is not None:
            channels.tie(first.numbers, each.numbers)
    return first


def together(channels: ChannelMap, _index: int, node: NodeProto) -> Said:
    """Max, Min and Sum: all operands get the same factors."""
    return _together(channels, node)
