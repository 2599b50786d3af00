"""A branch of its own for the quantised readers of a tensor: a Mul that can take factors up."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from trtbuild.calibration.equalization.channels import ChannelMap

if TYPE_CHECKING:
    from onnx import ModelProto

    from trtbuild.quantization import Placement

_SUFFIX = "/balanced"


def open_branches(
    channels: ChannelMap, placement: Placement, after: Collection[str]
) -> tuple[ModelProto, dict[str, str]]:
    """Puts a Mul by ones between some tensors and their quantised readers.

    Args:
        channels: The model; tensors with free channels need no branch.
        placement: Its quantised nodes.
        after: Operators whose results may get one.

    Returns:
        A copy of the model, and the new tensor for each that got one.
    """
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(channels.model)
    axes = {n.activation: 1 if n.op.startswith("Conv") else -1 for n in placement.nodes}
    makers = {t: n.op_type for n in copy.graph.node for t in n.output}
    opened = {
        t: f"{t}{_SUFFIX}"
        for t, axis in axes.items()
        if makers.get(t) in after and not t.endswith(_SUFFIX) and channels.free(t, axis) is None
    }
    quantised = {n.node for n in placement.nodes}
    nodes = []
    for node in copy.graph.node:
        if node.name in quantised and node.input[0] in opened:
            node.input[0] = opened[node.input[0]]
        nodes.append(node)
        for tensor in node.output:
            if tensor in opened:
                shape, axis = channels.shapes[tensor], axes[tensor]
                ones = np.ones((shape[axis], *(1,) * (len(shape) - 2 if axis == 1 else 0)), np.float32)
                copy.graph.initializer.append(numpy_helper.from_array(ones, f"{tensor}/balance"))
                nodes.append(
                    helper.make_node("Mul", [tensor, f"{tensor}/balance"], [opened[tensor]], f"{tensor}/Balance")
                )
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy, opened


def close_unused(model: ModelProto, opened: dict[str, str]) -> dict[str, str]:
    """Takes out, in place, the branches that stayed at one; returns those that are left."""
    from onnx import numpy_helper

    stored = {t.name: t for t in model.graph.initializer}
    idle = {t: b for t, b in opened.items() if (numpy_helper.to_array(stored[f"{t}/balance"]) == 1).all()}
    back = {b: t for t, b in idle.items()}
    for node in list(model.graph.node):
        if node.output[0] in back:
            model.graph.node.remove(node)
            continue
        for slot, name in enumerate(node.input):
            if name in back:
                node.input[slot] = back[name]
    for tensor in idle:
        model.graph.initializer.remove(stored[f"{tensor}/balance"])
    return {t: b for t, b in opened.items() if t not in idle}
