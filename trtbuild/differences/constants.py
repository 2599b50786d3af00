"""Weights, scales and other constants of a graph, and how far two of them are apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto, NodeProto, TensorProto

_VALUES = ("value", "value_float", "value_floats", "value_int", "value_ints")


@dataclass(frozen=True)
class Constant:
    """A tensor that is known before anything runs: an initializer, or what a Constant node gives.

    Attributes:
        name: Tensor name.
        dtype: NumPy's name of its element type.
        shape: Its dimensions.
        digest: SHA-256 over type, shape and values.
        tensor: Where the values are read from.
        folder: Folder that external data lies in.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: str
    tensor: TensorProto
    folder: Path

    def values(self) -> np.ndarray[Any, Any]:
        """The values, read again: a large model's weights are never all in memory."""
        return onnxfile.values(self.tensor, self.folder)


def constants(model: ModelProto, folder: Path) -> dict[str, Constant]:
    """Every constant of the main graph by its tensor's name."""
    found = {tensor.name: _constant(tensor.name, tensor, folder) for tensor in model.graph.initializer}
    for node in model.graph.node:
        tensor = _value(node)
        if tensor is not None:
            found[node.output[0]] = _constant(node.output[0], tensor, folder)
    return found


def is_constant_node(node: NodeProto) -> bool:
    """Whether a node is a constant under another name; one of strings or of a sparse tensor is a node like any."""
    return node.op_type == "Constant" and any(a.name in _VALUES for a in node.attribute)


def _value(node: NodeProto) -> TensorProto | None:
    import numpy as np
    from onnx import helper, numpy_helper

    if not is_constant_node(node):
        return None
    attribute = node.attribute[0]
    if attribute.name == "value":
        tensor: TensorProto = attribute.t
        return tensor
    dtype = np.float32 if "float" in attribute.name else np.int64
    return numpy_helper.from_array(np.array(helper.get_attribute_value(attribute), dtype))


def _constant(name: str, tensor: TensorProto, folder: Path) -> Constant:
    from onnx import helper

    values = onnxfile.values(tensor, folder)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).name
    shape = tuple(tensor.dims)
    digest = hashlib.sha256(f"{tensor.data_type}\0{shape}\0".encode() + values.tobytes()).hexdigest()
    return Constant(name, dtype, shape, digest, tensor, folder)


def largest_difference(one: Constant, other: Constant) -> float | None:
    """The largest absolute difference of two constants, in their unit; None where the shapes differ.

    NaN and Inf on one side alone give Inf.
    """
    import numpy as np

    if one.shape != other.shape or "str" in one.dtype + other.dtype:
        return None
    if not one.values().size:
        return 0.0
    a, b = (c.values().astype(np.float64) for c in (one, other))
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return float(np.where(np.isnan(apart), np.inf, apart).max())


def largest_ratio(one: Constant, other: Constant) -> float | None:
    """The largest ratio of two sets of scales, one or more; None where they are not as many, Inf where one is zero."""
    import numpy as np

    a, b = (np.abs(c.values().astype(np.float64)).ravel() for c in (one, other))
    if a.size != b.size and 1 not in (a.size, b.size):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(a == b, 1.0, np.maximum(a, b) / np.minimum(a, b))
    return float(np.where(np.isnan(ratio), np.inf, ratio).max()) if ratio.size else None


def summary(constant: Constant) -> dict[str, Any]:
    """What a change says of a constant."""
    return {"dtype": constant.dtype, "shape": list(constant.shape), "sha256": constant.digest[:16]}


def range_of(constant: Constant) -> list[float]:
    """Smallest and largest value, of scales."""
    values = constant.values().astype(float)
    return [float(values.min()), float(values.max())] if values.size else []


Constants = Mapping[str, Constant]
