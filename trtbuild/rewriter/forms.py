"""Forms a model takes on its way through the rules: named nodes, inferred shapes, inference mode, ONNX again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import AppliedEdit
from trtbuild.rewriter.driver import apply_rules
from trtbuild.rewriter.graph import GraphView
from trtbuild.rewriter.rule import Rule

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

_MOST_PASSES = 4  # of shape inference: it settles after one or two


def inference_form(
    model: ModelProto, rules: Sequence[Rule], folder: Path | None
) -> tuple[ModelProto, tuple[AppliedEdit, ...]]:
    """The model in inference mode and the edits made for it; the model itself when it is in inference mode."""
    import onnx_graphsurgeon as gs

    if not rules or not any(_trains(graph) for graph in onnxfile.graphs(model.graph)):
        return model, ()
    graph = gs.import_onnx(with_shapes(model))
    name_nodes(graph)
    view = GraphView(graph, folder=folder)
    done = apply_rules(view, rules)
    if not done.applied:
        return model, ()
    return as_model(gs.export_onnx(graph, do_type_check=False), model, view.model.origin), done.applied


def _trains(graph: GraphProto) -> bool:
    """Whether a Dropout drops or a BatchNormalization takes the batch's statistics."""
    import onnx

    fixed = {t.name: t for t in graph.initializer}
    fixed |= {n.output[0]: a.t for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"}
    for node in graph.node:
        if node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute):
            return True
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            flag = fixed.get(node.input[2])
            if flag is None or bool(onnx.numpy_helper.to_array(flag).any()):
                return True
    return False


def name_nodes(graph: Any) -> None:
    """Gives every node a name of its own: reports and the build log speak of nodes by name."""
    taken: set[str] = set()
    for number, node in enumerate(graph.nodes):
        base = node.name or f"{node.op}_{number}"
        name, copy = base, 0
        while name in taken:
            copy += 1
            name = f"{base}_{copy}"
        node.name = name
        taken.add(name)


def with_shapes(model: ModelProto) -> ModelProto:
    """The model with every shape that ONNX can infer written into it, in place."""
    declared = {v.name for v in (*model.graph.input, *model.graph.output)}
    found = [v for v in onnxfile.inferred(model) if v.name not in declared]
    weights = {t.name for t in model.graph.initializer}
    del model.graph.value_info[:]
    model.graph.value_info.extend(v for v in found if v.name not in weights)
    onnxfile.forget_made_up_axes(model.graph)
    return model


def settle_shapes(model: ModelProto) -> None:
    """Infers shapes until nothing new is found, so that a second run starts from what this one ends with."""
    for _ in range(_MOST_PASSES):
        known = [v.SerializeToString(deterministic=True) for v in model.graph.value_info]
        if known == [v.SerializeToString(deterministic=True) for v in with_shapes(model).graph.value_info]:
            break


def as_model(result: ModelProto, original: ModelProto, origin: Mapping[str, str]) -> ModelProto:
    """Keeps what GraphSurgeon does not know: I/O declarations, IR version, metadata of the model and of its nodes."""
    result.ir_version = max(original.ir_version, 8)
    result.producer_name = "trtbuild"
    del result.metadata_props[:]
    result.metadata_props.extend(original.metadata_props)
    for mine, theirs in ((result.graph.input, original.graph.input), (result.graph.output, original.graph.output)):
        declared = {v.name: v for v in theirs}
        for value in mine:
            if value.name in declared:
                value.type.CopyFrom(declared[value.name].type)
    known = {n.name: n.metadata_props for n in _nodes(original.graph) if n.metadata_props}
    for node in _nodes(result.graph):
        name = node.name
        while name not in known and name in origin:
            name = origin[name]
        if name in known and not node.metadata_props:
            node.metadata_props.extend(known[name])
    return result


def _nodes(graph: GraphProto) -> Iterator[Any]:
    for each in onnxfile.graphs(graph):
        yield from each.node
