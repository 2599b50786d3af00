"""Places symmetric Q/DQ pairs as TensorRT wants them.

Activations: one QuantizeLinear and DequantizeLinear pair a tensor, per-tensor scale, zero point 0, shared by the
quantised nodes that read it; other readers keep the float tensor. Weights: stored as INT8 behind one DequantizeLinear,
per output channel. Biases stay in float. Products of two activations (attention) stay in float: quantising them costs
more accuracy than it saves time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.artifacts import CalibrationTable
from trtbuild.errors import IntegrityError
from trtbuild.matrixops import MatrixNode, matrix_nodes
from trtbuild.onnxfile import reads

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

LEVELS = 127  # symmetric INT8: -127 to 127
_SMALLEST_SCALE = 2.0**-126  # float32's smallest normal number: a smaller scale becomes zero


@dataclass(frozen=True)
class Quantized:
    """What ``quantize`` did.

    Attributes:
        model: The model with Q/DQ.
        kept: Matrix node that stayed in float to the reason.
    """

    model: ModelProto
    kept: Mapping[str, str]


def quantize(model: ModelProto, table: CalibrationTable) -> Quantized:
    """Returns a copy of the model with Q/DQ around every matrix node that can take it.

    Args:
        model: The FP32 model, weights in memory.
        table: Ranges of the model's activations.

    Raises:
        IntegrityError: A quantised tensor has no range in the table.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    weights = {t.name: t for t in copy.graph.initializer}
    already = {n.output[0] for n in copy.graph.node if n.op_type == "DequantizeLinear"}
    kept: dict[str, str] = {}
    edits: dict[str, MatrixNode] = {}
    for node in matrix_nodes(copy):
        if node.activations and set(node.activations) <= already:
            continue  # quantised where the model was made
        reason = _why_not(node, weights)
        if reason:
            kept[node.name] = reason
        else:
            edits[node.name] = node
    _insert(copy, edits, weights, table)
    return Quantized(copy, kept)


def _why_not(node: MatrixNode, weights: Mapping[str, TensorProto]) -> str | None:
    from onnx import TensorProto

    if node.weight is None:
        return "a product of two activations" if len(node.activations) == 2 else "its activation is the second operand"
    if not node.activations:
        return "a product of two weights"
    if node.weight not in weights or weights[node.weight].data_type != TensorProto.FLOAT:
        return "its weight is not FP32"
    return None


def _insert(
    model: ModelProto, edits: Mapping[str, MatrixNode], weights: Mapping[str, TensorProto], table: CalibrationTable
) -> None:
    scales = _Initializers(model)
    pairs: dict[str, str] = {}  # tensor to its dequantised form; for a weight, with its axis
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        edit = edits.get(node.name)
        if edit is not None and edit.weight is not None and edit.channel_axis is not None:
            tensor = edit.activations[0]
            if tensor not in pairs:
                pairs[tensor] = _activation_pair(tensor, table, scales, nodes)
            weight = weights[edit.weight]
            # a stack of matrices has no single output channel axis that TensorRT quantises along
            axis = edit.channel_axis if len(weight.dims) == 2 or edit.op.startswith("Conv") else None
            key = f"{edit.weight}@{axis}"
            if key not in pairs:
                pairs[key] = _weight_dequantised(weight, axis, key, scales, nodes)
            node.input[0], node.input[1] = pairs[tensor], pairs[key]
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    scales.write(used={name for n in nodes for name in reads(n)})


def _activation_pair(tensor: str, table: CalibrationTable, scales: _Initializers, nodes: list[NodeProto]) -> str:
    import numpy as np
    from onnx import helper

    if tensor not in table.ranges:
        raise IntegrityError(
            f"the calibration table has no range for {tensor!r}",
            place="assign precision",
            hint="calibrate this very graph: names may have changed since the table was made",
        )
    scale = scales.add(f"{tensor}/scale", np.float32(max(table.ranges[tensor].amax / LEVELS, _SMALLEST_SCALE)))
    zero = scales.add("trtbuild/zero_point", np.int8(0))
    quantized, result = f"{tensor}/quantized", f"{tensor}/dequantized"
    nodes.append(helper.make_node("QuantizeLinear", [tensor, scale, zero], [quantized], f"{tensor}/QuantizeLinear"))
    nodes.append(helper.make_node("DequantizeLinear", [quantized, scale, zero], [result], f"{tensor}/DequantizeLinear"))
    return result


def _weight_dequantised(
    weight: TensorProto, axis: int | None, key: str, scales: _Initializers, nodes: list[NodeProto]
) -> str:
    import numpy as np
    from onnx import helper, numpy_helper

    values = numpy_helper.to_array(weight).astype(np.float64)
    others = None if axis is None else tuple(i for i in range(values.ndim) if i != axis)
    amax = np.abs(values).max(axis=others, keepdims=True)
    scale = np.where(amax > 0, amax, 1.0) / LEVELS  # a channel of zeros: any scale is right
    scale = np.maximum(scale, _SMALLEST_SCALE).astype(np.float32)
    integers = np.clip(np.rint(values / scale), -LEVELS, LEVELS).astype(np.int8)
    per = scale.reshape(()) if axis is None else scale.reshape(-1)
    inputs = [
        scales.add(f"{key}/int8", integers),
        scales.add(f"{key}/scale", per),
        scales.add(f"{key}/zero_point", np.zeros(per.shape, np.int8)),
    ]
    node = helper.make_node("DequantizeLinear", inputs, [f"{key}/dequantized"], f"{key}/DequantizeLinear")
    if axis is not None:
        node.attribute.append(helper.make_attribute("axis", axis))
    nodes.append(node)
    return f"{key}/dequantized"


class _Initializers:
    """Weights to add to a model, by name; the ones no node reads any more are dropped."""

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self._new: dict[str, TensorProto] = {}

    def add(self, name: str, values: object) -> str:
        import numpy as np
        from onnx import numpy_helper

        if name not in self._new:
            self._new[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def write(self, used: set[str]) -> None:
        outputs = {o.name for o in self._model.graph.output}
        kept = [t for t in self._model.graph.initializer if t.name in used or t.name in outputs]
        del self._model.graph.initializer[:]
        self._model.graph.initializer.extend([*kept, *self._new.values()])
