"""Shows on a CPU what FP16 and BF16 do to a graph.

ONNX Runtime's CPU provider computes many FP16 operators in FP32 and hides what would overflow, and it has few BF16
operators at all. So a typed graph is run in an equal form: every low-precision tensor becomes FP32, and every result is
rounded by a pair of Casts, to the low type and back. Overflow turns to Inf where it would on a GPU.

Inside one operator the work is done in FP32: products of matrices and convolutions add up in FP32, as TensorRT's
kernels with FP32 accumulators do (a tactic may have FP16 ones; nothing in the graph shows it), and normalisations and
Softmax are computed in FP32. Sums are the doubtful ones: ``low_sums`` rounds the sum of a mean before it is divided.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trtbuild.onnxfile import element_types, reads

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_MEANS = ("ReduceMean", "GlobalAveragePool")
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")
"""Attributes that name a result's element type: of Cast, random numbers, EyeLike, newer DequantizeLinear."""


MADE_UP = ("/unrounded", "/wide")
"""What the names of the tensors end in that ``emulate`` adds: a result before it is rounded, and one widened again."""


def uses_low_precision(model: ModelProto) -> bool:
    """Whether the main graph computes in FP16 or BF16 anywhere."""
    return bool(_low_types(model))


def emulate(model: ModelProto, *, low_sums: bool = False) -> ModelProto:
    """Returns the model with its FP16 and BF16 work done in FP32 and every result of it rounded to its type.

    A low-precision tensor keeps its name and type; its readers get it widened, as ``<name>/wide``. Graph inputs and
    outputs stay as they are.

    Args:
        model: A typed model.
        low_sums: Whether the sums that means are made from are rounded too, so that they can overflow.
    """
    import onnx

    low = _low_types(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = [_widen(v.name) for v in copy.graph.input if v.name in low]
    for node in copy.graph.node:
        for index, name in enumerate(node.input):
            if name in low:
                node.input[index] = f"{name}/wide"
        _retype(node)
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in low:
                node.output[index] = f"{name}/unrounded"
                summed = low_sums and node.op_type in _MEANS
                nodes += _low_mean(node, name, low[name]) if summed else _rounded(f"{name}/unrounded", name, low[name])
                nodes.append(_widen(name))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    del copy.graph.value_info[:]
    _widen_weights(copy)
    return copy


def _retype(node: NodeProto) -> None:
    """A node that is told to make a low-precision tensor makes an FP32 one; its result is rounded after it."""
    from onnx import TensorProto

    for attribute in node.attribute:
        if attribute.name in _TYPE_ATTRIBUTES and attribute.i in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            attribute.i = TensorProto.FLOAT


def _rounded(source: str, name: str, kind: int) -> list[NodeProto]:
    from onnx import helper

    return [helper.make_node("Cast", [source], [name], f"{name}/round", to=kind)]


def _low_mean(node: NodeProto, name: str, kind: int) -> list[NodeProto]:
    """The mean's sum, rounded, and then divided: count = elements before / elements after."""
    from onnx import TensorProto, helper

    mean, part = node.output[0], f"{name}/{{}}".format
    return [
        helper.make_node("Size", [node.input[0]], [part("before")]),
        helper.make_node("Size", [mean], [part("after")]),
        helper.make_node("Div", [part("before"), part("after")], [part("whole")]),
        helper.make_node("Cast", [part("whole")], [part("count")], to=TensorProto.FLOAT),
        helper.make_node("Mul", [mean, part("count")], [part("sum")]),
        helper.make_node("Cast", [part("sum")], [part("low_sum")], to=kind),
        helper.make_node("Cast", [part("low_sum")], [part("wide_sum")], to=TensorProto.FLOAT),
        helper.make_node("Div", [part("wide_sum"), part("count")], [part("mean")]),
        *_rounded(part("mean"), name, kind),
    ]


def _widen(name: str) -> NodeProto:
    from onnx import TensorProto, helper

    return helper.make_node("Cast", [name], [f"{name}/wide"], f"{name}/widen", to=TensorProto.FLOAT)


def _low_types(model: ModelProto) -> dict[str, int]:
    """FP16 and BF16 tensors that are not weights, with their types."""
    from onnx import TensorProto

    weights = {t.name for t in model.graph.initializer}
    low = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
    return {name: kind for name, kind in element_types(model).items() if kind in low and name not in weights}


def _widen_weights(model: ModelProto) -> None:
    """Weights become FP32; one that a subgraph reads, or that is handed out, stays beside its FP32 form."""
    as_they_are = {o.name for o in model.graph.output} | set(_read_inside(model))
    weights = list(model.graph.initializer)
    del model.graph.initializer[:]
    for tensor in weights:
        wide = _widened(tensor)
        if wide is not tensor and tensor.name in as_they_are:
            model.graph.initializer.append(tensor)
            wide.name = f"{tensor.name}/wide"
            for node in model.graph.node:
                for index, name in enumerate(node.input):
                    if name == tensor.name:
                        node.input[index] = wide.name
        model.graph.initializer.append(wide)


def _read_inside(model: ModelProto) -> Iterator[str]:
    for node in model.graph.node:
        yield from reads(node)[len([name for name in node.input if name]) :]


def _widened(tensor: TensorProto) -> TensorProto:
    import numpy as np
    from onnx import TensorProto, numpy_helper

    if tensor.data_type not in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
