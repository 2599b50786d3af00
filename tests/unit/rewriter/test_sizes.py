"""What is known of a shape's numbers, held against what the graph computes when it runs."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_models import model, node, tensor, weights

from trtbuild.onnxrun import run, session
from trtbuild.rewriter.forms import with_shapes
from trtbuild.rewriter.graph import GraphView
from trtbuild.rewriter.sizes import copies_axes, sizes

FIXED = {"zero": 0, "one": [1], "two": 2, "begin": [0], "first": [-3], "step": [2], "end": [2**62], "axis0": [0]}
PIECES = {
    "whole": [node("Shape", ["x"], ["whole"])],
    "rows": [node("Shape", ["x"], ["rows"], start=0, end=-1)],
    "index": [node("Gather", ["all", "zero"], ["i"]), node("Unsqueeze", ["i", "axis0"], ["index"])],
    "listed": [node("Gather", ["all", "one"], ["listed"])],
    "sliced": [node("Slice", ["all", "begin", "first_two"], ["sliced"])],
    "backwards": [node("Slice", ["all", "end", "end_back", "axis0", "back"], ["backwards"])],
    "third": [node("Slice", ["all", "begin", "end", "axis0", "step"], ["third"])],
    "sum": [node("Gather", ["all", "one"], ["l"]), node("Add", ["l", "one"], ["sum"])],
    "numbers": [],
}
MORE = {"first_two": [2], "end_back": [-(2**62)], "back": [-1], "numbers": [5, -1]}


def shaped(names):
    """A Concat of some pieces of the shape of a tensor, and the tensor."""
    nodes = [node("Shape", ["x"], ["all"]), *(n for name in names for n in PIECES[name])]
    nodes.append(node("Concat", list(names), ["y"], axis=0))
    fixed = {k: np.array(v, np.int64) for k, v in (FIXED | MORE).items()}
    return model(nodes, [("x", ["a", "b", 6])], [tensor("y", ["n"], TensorProto.INT64)], fixed)


def view(proto):
    graph = gs.import_onnx(with_shapes(proto))
    return GraphView(graph), graph.tensors()


@settings(max_examples=25, deadline=None)
@given(names=st.lists(st.sampled_from(sorted(PIECES)), min_size=1, max_size=4, unique=True))
def test_what_is_known_of_a_shape_is_what_is_computed(names, tmp_path_factory):
    proto = shaped(names)
    graph, tensors = view(proto)
    found = sizes(graph, tensors["y"])
    file = tmp_path_factory.mktemp("shape") / "m.onnx"
    onnx.save(proto, file)
    x = np.zeros((2, 3, 6), np.float32)
    computed = run(session(file), {"x": x})["y"].tolist()
    assert len(found) == len(computed)
    for size, number in zip(found, computed, strict=True):
        assert size is None or number == (x.shape[size[1]] if isinstance(size, tuple) else size)
    assert found.count(None) == ("sum" in names)


def test_a_shape_of_unknown_length_is_not_known():
    proto = model([], [tensor("s", ["n"], TensorProto.INT64)], [tensor("s", ["n"], TensorProto.INT64)])
    graph, tensors = view(proto)
    assert sizes(graph, tensors["s"]) is None


KEEPS = {
    "product": [node("MatMul", ["x", "w"], ["t"])],
    "bias": [node("Add", ["b", "x"], ["t"])],
    "norm": [node("LayerNormalization", ["x", "b"], ["t"])],
    "part": [node("Split", ["x"], ["t", "u"], axis=2, num_outputs=2)],
}
CHANGES = {
    "turn": [node("Transpose", ["x"], ["t"], perm=[1, 0, 2])],
    "columns": [node("Add", ["x", "column"], ["t"])],
    "along rows": [node("Split", ["x"], ["t", "u"], axis=0, num_outputs=2)],
    "another": [node("MatMul", ["z", "w"], ["t"])],
    "stack": [node("MatMul", ["x", "stack"], ["t"])],
}


@pytest.mark.parametrize("word", [*KEEPS, *CHANGES])
@pytest.mark.parametrize("other", ["x", "t"])
def test_rows_are_the_same_through_what_changes_the_last_axis_only(word, other):
    nodes = [*(KEEPS | CHANGES)[word], node("Shape", [other], ["s"]), node("Neg", ["t"], ["y"])]
    inputs = [("x", [None, None, 6]), ("z", [None, None, 6])]
    fixed = {"w": weights((6, 4)), "b": weights((6,)), "column": weights((3, 1)), "stack": weights((1, 6, 4))}
    proto = model(nodes, inputs, [("y", [None, None, None])], fixed, opset=18)
    graph, tensors = view(proto)
    assert copies_axes(graph, tensors["s"], tensors["t"], 2) == (other == "t" or word in KEEPS)
    assert not copies_axes(graph, tensors["s"], tensors["t"], 3)


@pytest.mark.parametrize(("target", "same"), [([4, 3, 6], True), ([4, 5, 6], False), ([0, 3, 6], False), ([4], False)])
def test_numbers_are_held_against_known_sizes(target, same):
    nodes = [node("Reshape", ["x", "s"], ["y"])]
    proto = model(nodes, [("x", [4, 3, 6])], [("y", [None] * len(target))], {"s": np.array(target)})
    graph, tensors = view(proto)
    assert copies_axes(graph, tensors["s"], tensors["x"], 2) == same
