"""Puts a model's nodes in the place of one node.

For rules whose replacement comes as ONNX, such as an operator's function body. Names get the replaced node's name in
front, so a report still says where they come from, and ONNX's inference gives every new tensor its type and shape, so
that the next rule can go on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

    from trtbuild.rewriter.graph import GraphView

_VALUES_BELOW = 1024  # elements of a weight whose values inference may need: shapes, axes


def element_type(tensor: Any) -> int:
    """ONNX's number of a tensor's element type; 0 where it is not known."""
    import numpy as np
    from onnx import helper

    if tensor.dtype is None or isinstance(tensor.dtype, int):
        return tensor.dtype or 0
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)))


def declared(name: str, tensor: Any, graph: GraphView) -> ValueInfoProto:
    """A tensor's declaration under another name."""
    from onnx import helper

    return helper.make_tensor_value_info(name, element_type(tensor), graph.shape(tensor))


def splice(graph: GraphView, node: Any, model: ModelProto) -> None:
    """Replaces a node by a model's nodes.

    Args:
        graph: The graph that holds the node.
        node: The node; taken away.
        model: What computes the same. Its inputs and outputs are those the node has, in order; what the node leaves
            out is left out here.
    """
    import onnx_graphsurgeon as gs

    read = [t for t in node.inputs if t.name]
    inner = gs.import_onnx(_typed(graph, read, model))
    outside = {id(mine): theirs for mine, theirs in zip(inner.inputs, read, strict=True)}
    done: set[int] = set()
    for new in _all_nodes(inner.nodes):
        new.name = graph.new_name(f"{node.name}_{new.op}")
        graph.model.origin[new.name] = node.name
        for tensor in (*new.inputs, *new.outputs):
            if tensor.name and id(tensor) not in done and id(tensor) not in outside:
                done.add(id(tensor))
                tensor.name = graph.new_name(f"{node.name}_{tensor.name}")
        for index, tensor in enumerate(list(new.inputs)):
            if id(tensor) in outside:
                new.inputs[index] = outside[id(tensor)]
    for within in _graphs(inner.nodes):
        graph.model.outputs |= {id(t) for t in within.outputs}
        graph.model.kept += within.outputs
        for index, tensor in enumerate(list(within.outputs)):
            if id(tensor) in outside:
                within.outputs[index] = outside[id(tensor)]
    graph.graph.nodes.extend(inner.nodes)
    graph.model.made.extend(inner.nodes)
    made = iter(inner.outputs)
    results = [next(made) if t.name else None for t in node.outputs]
    graph.substitute(node, *(outside.get(id(t), t) for t in results))


def _typed(graph: GraphView, read: Sequence[Any], model: ModelProto) -> ModelProto:
    """The model with the types and shapes that follow from the node's inputs, values of small weights included."""
    import onnx
    from onnx import numpy_helper

    names = [i.name for i in model.graph.input]
    for name, tensor in zip(names, read, strict=True):
        values = graph.constant(tensor)
        if values is not None and values.size <= _VALUES_BELOW:
            model.graph.initializer.append(numpy_helper.from_array(values, name))
    try:
        typed = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError:
        typed = model
    onnxfile.forget_made_up_axes(typed.graph)
    own = [t for t in typed.graph.initializer if t.name not in names]
    del typed.graph.initializer[:]
    typed.graph.initializer.extend(own)
    return typed


def _graphs(nodes: Sequence[Any]) -> Iterator[Any]:
    import onnx_graphsurgeon as gs

    for node in nodes:
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                yield value
                yield from _graphs(value.nodes)


def _all_nodes(nodes: Sequence[Any]) -> Iterator[Any]:
    yield from nodes
    for graph in _graphs(nodes):
        yield from graph.nodes
