"""In which type the scales of Q/DQ pairs are, once the graph around them is FP16 or BF16.

ONNX takes FP16 and BF16 scales from opset 19 on; the type of a DequantizeLinear's scale is the type of its result. What
TensorRT-RTX 1.7.1 makes of it was read from its plans:

- Activations and weights in INT8: as many kernels in both forms. But with FP16 scales the INT8 kernel hands its sum of
  integers over in FP16 before it is scaled, and that sum is the result divided by two scales: soon beyond 65504. With
  FP32 scales and Casts it is handed over in FP32. So these scales stay FP32.
- Weights alone (INT4, or INT8 weights): they are scaled before they are multiplied, so nothing overflows. With lower
  scales INT4 is unpacked inside the product's kernel; with FP32 ones and a Cast it is unpacked by a kernel of its own,
  and the weights travel in FP16. So these scales are lowered, where the lower type has normal numbers for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtbuild.matrixops import MATRIX_OPS
from trtbuild.precision.lowering.half_ranges import LARGEST, SMALLEST_NORMAL

if TYPE_CHECKING:
    from onnx import NodeProto

    from trtbuild.precision.lowering.float_graph import FloatGraph

PAIR = ("QuantizeLinear", "DequantizeLinear")
_FIRST_OPSET = 19


def plan(graph: FloatGraph, node: NodeProto, opset: int) -> tuple[list[int], list[int]] | None:
    """Which inputs and outputs of a QuantizeLinear or DequantizeLinear are lowered; None where it stays in FP32."""
    if node.op_type == "QuantizeLinear" or opset < _FIRST_OPSET or node.input[1] not in graph.magnitudes:
        return None
    if any(a.name == "output_dtype" and a.i for a in node.attribute):
        return None
    size = graph.magnitudes[node.input[1]]
    fits = size.least >= SMALLEST_NORMAL and size.most <= LARGEST
    return ([1], [0]) if fits and _weights_alone(graph, node) else None


def _weights_alone(graph: FloatGraph, node: NodeProto) -> bool:
    """Whether these are weights, and all that multiplies them is not quantised."""
    readers = graph.readers.get(node.output[0], [])
    if node.input[0] not in graph.weights or not readers or node.output[0] in graph.outputs:
        return False
    for reader in readers:
        if reader.op_type not in MATRIX_OPS:
            return False
        others = [graph.producers.get(name) for name in reader.input[:2] if name != node.output[0]]
        if any(o is not None and o.op_type in PAIR for o in others):
            return False
    return True
