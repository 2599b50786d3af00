"""In which type the scales of Q/DQ pairs are, once the graph around them is FP16 or BF16.

From opset 19 on a scale may be FP16, and the type of a DequantizeLinear's scale is the type of its result.
TensorRT-RTX 1.7.1 takes both forms, and fuses as much in both; but with FP32 scales and a Cast after them it keeps
results of INT8 kernels in FP32 (12 kernels of MiniLM read FP32; none with FP16 scales). So a scale is lowered where
FP16 holds it with all its bits: not below FP16's normal numbers. In BF16 it would be off by up to 1 in 512, the same
way for a whole channel: there it stays FP32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtbuild.precision.half_ranges import LARGEST, SMALLEST_NORMAL

if TYPE_CHECKING:
    from onnx import NodeProto

    from trtbuild.precision.float_graph import FloatGraph

PAIR = ("QuantizeLinear", "DequantizeLinear")
FIRST_OPSET = 19
_TYPED_RESULT = 23
"""From this opset on a QuantizeLinear's scale has a type of its own, and so has a DequantizeLinear's result."""


def plan(
    graph: FloatGraph, node: NodeProto, low: int, opset: int, lowered: set[str]
) -> tuple[list[int], list[int]] | None:
    """Which inputs and outputs of a QuantizeLinear or DequantizeLinear are lowered; None where it stays in FP32.

    Args:
        graph: The graph before.
        node: The node.
        low: ONNX's number of the lower type.
        opset: The model's.
        lowered: Tensors that the lowering has made in the lower type so far.
    """
    from onnx import TensorProto

    if opset < FIRST_OPSET or low != TensorProto.FLOAT16 or not graph.is_float(node.input[1]):
        return None
    if node.op_type == "QuantizeLinear":
        if node.input[0] not in lowered:
            return None  # it is there in FP32, so a Cast would only lose bits
        if opset >= _TYPED_RESULT:
            return [0], []  # its scale may stay FP32
        return ([0, 1], []) if _fits(graph, node.input[1]) else None
    typed = any(a.name == "output_dtype" and a.i for a in node.attribute)
    return ([1], [0]) if _fits(graph, node.input[1]) and not typed else None


def _fits(graph: FloatGraph, scale: str) -> bool:
    if scale not in graph.magnitudes:
        return False
    size = graph.magnitudes[scale]
    return size.least >= SMALLEST_NORMAL and size.most <= LARGEST
