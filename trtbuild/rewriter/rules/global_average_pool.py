"""AveragePool over the whole plane becomes GlobalAveragePool.

TensorRT limits the volume of a pooling window ("volume(windowSize) < maxKernelDimsProduct"); EfficientNet's exports
pass it.

Algebra: a window of the plane's own size without padding has one position; its mean is the plane's mean. A larger one,
which ``ceil_mode`` allows, has one position too, and the mean is taken over what it covers (EfficientNet asks for
1280 by 1280 on a plane of 2 by 2).
Axes: input [N, C, d1, d2, ...], kernel [k1, k2, ...] with each k at least d and less than d + stride, output
[N, C, 1, 1, ...].

ONNX: AveragePool 7 to 22, GlobalAveragePool 1 to 22.
"""

from __future__ import annotations

from typing import Any

from trtbuild.rewriter.graph import Dim, Edit, GraphView

OPS = ("AveragePool",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the operator."""
    shape = graph.shape(node.inputs[0])
    if shape is None or len(shape) < 3:
        return None
    kernel = list(node.attrs.get("kernel_shape", ()))
    strides = node.attrs.get("strides", [1] * len(kernel)) if node.attrs.get("ceil_mode") else [1] * len(kernel)
    dilated = any(d != 1 for d in node.attrs.get("dilations", ()))
    if dilated or len(shape) - 2 != len(kernel) or not all(map(_covers, kernel, shape[2:], strides)):
        return None
    unpadded = not any(node.attrs.get("pads", ())) and node.attrs.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    graph.need(unpadded, "it pads")

    def replace() -> None:
        node.op, node.attrs = "GlobalAveragePool", {}

    return Edit(f"the window {kernel} is the whole plane", replace)


def _covers(size: int, extent: Dim, stride: int) -> bool:
    """Whether a window has one position along an axis, and covers it."""
    return isinstance(extent, int) and extent <= size < extent + stride
