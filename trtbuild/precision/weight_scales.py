"""Scales of weights that only are stored in low precision, in FP16.

TensorRT-RTX 1.7.1 expands an INT4 weight inside the product's kernel only when the DequantizeLinear gives FP16 itself;
with an FP32 scale and a Cast it does so in a kernel of its own before every product. It must not be done where the
activation is quantised as well: a product whose two scales are of two types does not build.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from trtbuild import onnxfile

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

FIRST_OPSET = 19
_SMALLEST_NORMAL, _LARGEST = 2.0**-14, 65504.0  # of FP16: between them a scale keeps 11 bits


def halve_weight_scales(model: ModelProto, nodes: Collection[str]) -> None:
    """Gives the weights of some nodes FP16 scales, in place, where a Cast to FP16 follows and FP16 holds the scales.

    Args:
        model: A typed model in FP16; from opset 19 on a scale may be FP16.
        nodes: Names of matrix nodes whose weight is quantised and whose activation is not.
    """
    if onnxfile.opset(model) < FIRST_OPSET:
        return
    weights = {t.name: t for t in model.graph.initializer}
    makers = {n.output[0]: n for n in model.graph.node if n.op_type in ("Cast", "DequantizeLinear")}
    casts = [makers.get(n.input[1]) for n in model.graph.node if n.name in nodes]
    readers = [name for n in model.graph.node for name in onnxfile.reads(n)]
    for cast in {c.output[0]: c for c in casts if c is not None and c.op_type == "Cast"}.values():
        dequantize = makers.get(cast.input[0])
        if dequantize is None or dequantize.op_type != "DequantizeLinear" or readers.count(cast.input[0]) != 1:
            continue
        scale = _half(weights[dequantize.input[1]])
        if scale is not None:
            _replace(model, cast, dequantize, scale)
    used = {name for n in model.graph.node for name in onnxfile.reads(n)}
    kept = [t for t in model.graph.initializer if t.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _half(scale: TensorProto) -> TensorProto | None:
    """The scale in FP16, or nothing where that loses bits to the exponent."""
    import numpy as np
    from onnx import numpy_helper

    values = numpy_helper.to_array(scale)
    if values.min() < _SMALLEST_NORMAL or values.max() > _LARGEST:
        return None
    return numpy_helper.from_array(values.astype(np.float16), f"{scale.name}/fp16")


def _replace(model: ModelProto, cast: NodeProto, dequantize: NodeProto, scale: TensorProto) -> None:
    if all(t.name != scale.name for t in model.graph.initializer):
        model.graph.initializer.append(scale)
    dequantize.input[1], dequantize.output[0] = scale.name, cast.output[0]
    model.graph.node.remove(cast)
