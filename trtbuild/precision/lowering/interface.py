"""Gives a lowered graph inputs and outputs of the lower type, under their own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def lower_interface(model: ModelProto, low: int, suffix: str, wide: Mapping[str, str]) -> ModelProto:
    """Turns FP32 inputs and outputs into the lower type, in place; those the lower type cannot hold stay.

    Args:
        model: The lowered model.
        low: ONNX's number of the lower type.
        suffix: What was added to a tensor's name to name its lower form.
        wide: Tensors that do not fit.
    """
    from onnx import TensorProto

    weights = {t.name for t in model.graph.initializer}
    given = [v for v in model.graph.input if _is_fp32(v) and v.name not in weights | set(wide)]
    handed_out = [v for v in model.graph.output if _is_fp32(v) and v.name not in weights | set(wide)]
    names = {v.name: v.name + suffix for v in (*given, *handed_out)}
    outputs = {v.name for v in handed_out}
    nodes: list[NodeProto] = []
    fp32 = {name: f"{name}/fp32{suffix}" for name in names}
    nodes += [_cast(value.name, fp32[value.name], TensorProto.FLOAT) for value in given]
    for node in model.graph.node:
        if _converts(node, names):
            continue  # between the two forms of one name: both are made anew
        made = [name for name in node.output if name in outputs]
        _rename(node, {**fp32, **{lower: name for name, lower in names.items()}})
        nodes.append(node)
        nodes += [_cast(fp32[name], name, low) for name in made]
        nodes += [
            _cast(name, fp32[name], TensorProto.FLOAT) for name in node.output if name in outputs and name not in made
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for value in (*given, *handed_out):
        value.type.tensor_type.elem_type = low
    _drop_unread_casts(model, set(fp32.values()))
    return model


def _is_fp32(value: object) -> bool:
    return bool(value.type.tensor_type.elem_type == 1)  # type: ignore[attr-defined]  # TensorProto.FLOAT


def _converts(node: NodeProto, names: Mapping[str, str]) -> bool:
    if node.op_type != "Cast":
        return False
    ends = (node.input[0], node.output[0])
    return any(ends in ((name, lower), (lower, name)) for name, lower in names.items())


def _rename(node: NodeProto, names: Mapping[str, str]) -> None:
    """Renames what a node reads and makes, and what is read inside its subgraphs."""
    for fields in (node.input, node.output):
        for index, name in enumerate(fields):
            fields[index] = names.get(name, name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename(inner, names)
            for value in graph.output:
                value.name = names.get(value.name, value.name)


def _cast(source: str, result: str, kind: int) -> NodeProto:
    from onnx import helper

    return helper.make_node("Cast", [source], [result], f"{result}/cast", to=kind)


def _drop_unread_casts(model: ModelProto, casts: set[str]) -> None:
    from trtbuild.onnxfile import reads

    read = {name for node in model.graph.node for name in reads(node)}
    for node in [n for n in model.graph.node if n.op_type == "Cast" and n.output[0] in casts - read]:
        model.graph.node.remove(node)
