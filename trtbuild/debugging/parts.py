"""Models cut out of others: some nodes with what they read as inputs, and the values to feed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxrun
from trtbuild.emulation import emulate, uses_low_precision
from trtbuild.onnxfile import element_types, reads

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    Arrays = Mapping[str, NDArray[Any]]


def cut(
    model: ModelProto,
    nodes: Sequence[NodeProto],
    wanted: Mapping[str, str],
    begins: Sequence[str],
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> ModelProto:
    """A model of some nodes. What is FP16 or BF16 at its borders goes in and out as FP32, with a Cast.

    Args:
        model: Where they are from.
        nodes: In order.
        wanted: Tensors they make to the names that the part's outputs shall have; they must not be names of the model.
        begins: Tensors that are fed, whatever makes them.
        shapes: Shapes to declare, for a part that is kept in a file.
    """
    import onnx
    from onnx import TensorProto

    shaped = shapes or {}

    low = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    kinds = element_types(model)
    weights = {t.name: t for t in model.graph.initializer}
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.functions.extend(model.functions)
    part.graph.name = "part"
    read = dict.fromkeys(t for n in nodes for t in reads(n))
    for name in (n for n in begins if n in read and n not in weights):
        kind = kinds[name]
        outside = f"{name}/fp32" if kind in low else name
        part.graph.input.append(
            onnx.helper.make_tensor_value_info(outside, TensorProto.FLOAT if kind in low else kind, shaped.get(name))
        )
        if kind in low:
            part.graph.node.append(onnx.helper.make_node("Cast", [outside], [name], f"{name}/lower", to=kind))
    made: dict[str, str] = {}
    for node in nodes:
        copy = part.graph.node.add()
        copy.CopyFrom(node)
        for index, name in enumerate(node.output):
            if name in begins:  # others begin at it: theirs is the one from outside
                copy.output[index] = made[name] = f"{name}/own"
    for name, new in wanted.items():
        kind = kinds[name]
        there = made.get(name, name)
        out = onnx.helper.make_node("Cast" if kind in low else "Identity", [there], [new], f"{new}/result")
        if kind in low:
            out.attribute.append(onnx.helper.make_attribute("to", int(TensorProto.FLOAT)))
        part.graph.node.append(out)
        part.graph.output.append(
            onnx.helper.make_tensor_value_info(new, TensorProto.FLOAT if kind in low else kind, shaped.get(name))
        )
    part.graph.initializer.extend(weights[n] for n in read if n in weights)
    return part


def run(model: ModelProto, feed: Arrays, folder: Path | None = None) -> dict[str, NDArray[Any]]:
    """Runs a part once.

    Args:
        model: What ``cut`` made.
        feed: Values by the tensors' own names, FP32 where the graph has FP16 or BF16.
        folder: Where weights lie that are not in the model. Where all of them are, FP16 and BF16 are emulated.
    """
    import onnx

    ready = onnxrun.session(
        emulate(model) if folder is None and uses_low_precision(model) else model, folder=folder, lean=True
    )
    values = {}
    for v in model.graph.input:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type)
        values[v.name] = feed[v.name if v.name in feed else v.name.removesuffix("/fp32")].astype(dtype, copy=False)
    return onnxrun.run(ready, values)


@dataclass(frozen=True)
class Graph:
    """A model whose weights lie on disk, so that its parts run without copies of them.

    Attributes:
        model: The graph; large weights are named only.
        folder: Where they lie.
    """

    model: ModelProto
    folder: Path

    @classmethod
    def of(cls, file: Path, scratch: Path) -> Graph:
        """Reads an ONNX file; one with FP16 or BF16 in its form of FP32 with every result rounded.

        Args:
            file: The file.
            scratch: A folder of its own for what is made of it.
        """
        from trtbuild import onnxfile

        scratch.mkdir(exist_ok=True)
        if uses_low_precision(onnxfile.load(file, weights=False)):
            emulated = onnxfile.save(emulate(onnxfile.load(file)), scratch / f"{file.stem}.emulated.onnx")
            file = emulated.path
        return cls(*onnxfile.with_weights_on_disk(file, scratch))


RESULT = "/value"
"""Ends the name of a part's output after the tensor it is."""


def exposing(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """The whole model up to some tensors, which become its outputs, ``RESULT`` at the end of their names."""
    from trtbuild.debugging.alignment import nodes_between

    nodes = nodes_between(model, tensors, ())
    return cut(model, nodes, {t: t + RESULT for t in tensors}, [v.name for v in model.graph.input])
