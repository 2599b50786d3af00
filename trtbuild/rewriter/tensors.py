"""What GraphSurgeon leaves out of its tensors: types of new ones, and weights that lie on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SMALL = 1024  # elements of a constant that type inference may want to look into (shapes, axes, pads)


def infer_types(node: Any, opset: int) -> None:
    """Element types and shapes of a new node's outputs, from the operator's schema; unknown where that fails."""
    import onnx
    import onnx_graphsurgeon as gs
    from onnx_graphsurgeon.importers.onnx_importer import OnnxImporter

    types, data = {}, {}
    for tensor in node.inputs:
        if tensor.name and tensor.dtype is not None:
            types[tensor.name] = _type_proto(tensor)
            if isinstance(tensor, gs.Constant) and int(np.prod(tensor.shape)) <= _SMALL and _numpy_has(tensor.dtype):
                data[tensor.name] = onnx.numpy_helper.from_array(np.asarray(tensor.values), tensor.name)
    try:
        proto = onnx.helper.make_node(
            node.op, [t.name for t in node.inputs], [t.name for t in node.outputs], **_attributes(node)
        )
        schema = onnx.defs.get_schema(node.op, opset)
        imports = [onnx.helper.make_opsetid("", opset)]
        found = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)
    except (onnx.shape_inference.InferenceError, onnx.defs.SchemaError, ValueError, TypeError):
        return
    for tensor in node.outputs:
        if tensor.name in found:
            value = onnx.helper.make_value_info(tensor.name, found[tensor.name])
            read = OnnxImporter.import_tensor(value)
            tensor.dtype, tensor.shape = read.dtype, read.shape


def read_from_disk(folder: Path, graphs: Sequence[Any]) -> None:
    """Lets weights that are still on disk be read from there, one at a time, when a rule asks for one."""
    from onnx_graphsurgeon.ir.tensor import LazyValues

    from trtbuild import onnxfile

    class OnDisk(LazyValues):  # type: ignore[misc]
        def load(self) -> NDArray[Any]:
            return onnxfile.values(self.tensor, folder)

    for graph in graphs:
        for tensor in graph.tensors().values():
            proto = getattr(getattr(tensor, "_values", None), "tensor", None)
            if proto is not None and len(proto.external_data):
                tensor.values = OnDisk(proto)


def _attributes(node: Any) -> dict[str, Any]:
    import onnx
    import onnx_graphsurgeon as gs

    found: dict[str, Any] = {}
    for key, value in node.attrs.items():
        if isinstance(value, np.ndarray):
            found[key] = onnx.numpy_helper.from_array(value)
        elif isinstance(value, gs.Constant):
            found[key] = onnx.numpy_helper.from_array(np.asarray(value.values))
        elif key == "to" and not isinstance(value, int):
            found[key] = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(value))
        else:
            found[key] = value
    return found


def _type_proto(tensor: Any) -> Any:
    import onnx

    kind = tensor.dtype
    number = kind if isinstance(kind, int) else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    dims = None if tensor.shape is None else [d if d != "" else None for d in tensor.shape]
    return onnx.helper.make_tensor_type_proto(int(number), dims)


def _numpy_has(kind: Any) -> bool:
    try:
        return kind is not None and bool(np.dtype(kind))
    except TypeError:  # GraphSurgeon gives ONNX's number for types that NumPy does not have
        return False
