"""Shows on a CPU what FP16 and BF16 do to a graph.

ONNX Runtime's CPU provider computes many FP16 operators in FP32 and hides what would overflow, and it has few BF16
operators at all. So a typed graph is run in an equal form: every low-precision tensor becomes FP32, and every result is
rounded by a pair of Casts, to the low type and back. Overflow turns to Inf where it would on a GPU; only the order of
sums inside one operator differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtbuild.onnxfile import element_types

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


def uses_low_precision(model: ModelProto) -> bool:
    """Whether the main graph computes in FP16 or BF16 anywhere."""
    return bool(_low_types(model))


def emulate(model: ModelProto) -> ModelProto:
    """Returns the model with its FP16 and BF16 work done in FP32 and every result of it rounded to its type.

    A low-precision tensor keeps its name and type; its readers get it widened, as ``<name>/wide``. Graph inputs and
    outputs stay as they are.

    Args:
        model: A typed model.
    """
    import onnx
    from onnx import TensorProto, helper

    low = _low_types(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    inputs = [v.name for v in copy.graph.input if v.name in low]
    nodes: list[NodeProto] = [_widen(name) for name in inputs]
    for node in copy.graph.node:
        for index, name in enumerate(node.input):
            if name in low:
                node.input[index] = f"{name}/wide"
        to = next((a for a in node.attribute if a.name == "to" and node.op_type == "Cast"), None)
        if to is not None and to.i in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            to.i = TensorProto.FLOAT
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in low:
                node.output[index] = f"{name}/unrounded"
                nodes.append(helper.make_node("Cast", [f"{name}/unrounded"], [name], f"{name}/round", to=low[name]))
                nodes.append(_widen(name))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    del copy.graph.value_info[:]
    weights = [_widened(t) for t in copy.graph.initializer]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(weights)
    return copy


def _widen(name: str) -> NodeProto:
    from onnx import TensorProto, helper

    return helper.make_node("Cast", [name], [f"{name}/wide"], f"{name}/widen", to=TensorProto.FLOAT)


def _low_types(model: ModelProto) -> dict[str, int]:
    """FP16 and BF16 tensors that are not weights, with their types."""
    from onnx import TensorProto

    weights = {t.name for t in model.graph.initializer}
    low = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
    return {name: kind for name, kind in element_types(model).items() if kind in low and name not in weights}


def _widened(tensor: TensorProto) -> TensorProto:
    import numpy as np
    from onnx import TensorProto, numpy_helper

    if tensor.data_type not in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
