"""Col2Im becomes a ConvTranspose with identity weights.

Algebra: Col2Im adds each column's elements to the places of its window; ConvTranspose does that after a product with
its weights, and a weight that is one for (element k of the window, place k) and zero elsewhere leaves the element as it
is. One group a channel.
Axes: input [N, C * K, L] with K elements in a window; as an image [N, C * K, o1, o2, ...] with o1 * o2 * ... = L;
weights [C * K, 1, k1, k2, ...]. N stays dynamic.

ONNX: Col2Im 18, ConvTranspose 11 to 22.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Col2Im",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the operator."""
    shape, image, block = graph.shape(node.inputs[0]), graph.constant(node.inputs[1]), graph.constant(node.inputs[2])
    graph.need(image is not None and block is not None, "the image's or the block's shape is not constant")
    graph.need(shape is not None and isinstance(shape[1], int), "the number of channels is not known")
    graph.prefer(len(image) <= 3, "ConvTranspose has at most three axes")  # type: ignore[arg-type]
    sizes, kernel = image.tolist(), block.tolist()  # type: ignore[union-attr]
    number = len(sizes)
    strides, dilations = (list(node.attrs.get(k, [1] * number)) for k in ("strides", "dilations"))
    pads = list(node.attrs.get("pads", [0] * (2 * number)))
    rows, left = [], []
    for i in range(number):
        room = sizes[i] + pads[i] + pads[i + number] - dilations[i] * (kernel[i] - 1) - 1
        rows.append(room // strides[i] + 1)
        left.append(room % strides[i])  # what no window reaches, at the end
    channels = int(shape[1]) // prod(kernel)  # type: ignore[index, arg-type]
    weight = np.tile(np.eye(prod(kernel), dtype=graph.dtype(node.inputs[0])), (channels, 1))
    weight = weight.reshape(channels * prod(kernel), 1, *kernel)

    def replace() -> None:
        columns = graph.insert("Reshape", node.inputs[0], np.array([0, 0, *rows], np.int64), at=node)
        attrs: dict[str, Any] = {"group": channels, "strides": strides, "dilations": dilations, "pads": pads}
        attrs |= {"kernel_shape": kernel, "output_padding": left}
        graph.substitute(node, graph.insert("ConvTranspose", columns, weight, at=node, attrs=attrs))

    return Edit(f"a ConvTranspose with identity weights, {channels} channels", replace)
