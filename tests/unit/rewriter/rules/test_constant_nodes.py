import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import initializer, model, node, ops, same_outputs, save, tensor, weights

from trtbuild.rewriter import rewrite
from trtbuild.rewriter.rules import constant_nodes


def apply(proto, tmp_path):
    done = rewrite(save(proto, tmp_path / "in.onnx"), tmp_path, only=["constant_nodes"])
    after = onnx.load(str(done.model.path))
    (tmp_path / "again").mkdir()
    again = rewrite(done.model, tmp_path / "again", only=["constant_nodes"])
    assert again.model.sha256 == done.model.sha256, "a second run changes nothing"
    return done, after


def adding(*nodes, **parameters):
    """``y = x + c`` where the nodes make c, of shape [2]."""
    return model([*nodes, node("Add", ["x", "c"], ["y"], "add")], [("x", ["n", 2])], [("y", ["n", 2])], parameters)


@pytest.mark.parametrize(
    "attribute",
    [
        {"value": numpy_helper.from_array(np.array([1, 2], np.float32))},
        {"value_floats": [1.0, 2.0]},
        {"value_float": 3.0},
    ],
    ids=lambda a: next(iter(a)),
)
def test_every_form_of_constant_becomes_a_weight(attribute, tmp_path):
    proto = adding(helper.make_node("Constant", [], ["c"], "const", **attribute))
    done, after = apply(proto, tmp_path)
    assert [(e.rule, e.node) for e in done.applied] == [("constant_nodes", "const")]
    assert ops(after) == ["Add"]
    assert same_outputs(proto, after, atol=0)


def test_a_chain_folds_to_its_end(tmp_path):
    proto = adding(
        node("Transpose", ["w"], ["t"], perm=[1, 0]),
        node("Slice", ["t", "zero", "one"], ["s"]),
        node("Reshape", ["s", "shape"], ["r"]),
        node("Sqrt", ["r"], ["c"]),
        w=np.array([[4, 1], [9, 1]], np.float32),
        zero=np.array([0]), one=np.array([1]), shape=np.array([2]),
    )  # fmt: skip
    done, after = apply(proto, tmp_path)
    assert len(done.applied) == 4
    assert ops(after) == ["Add"]
    assert [numpy_helper.to_array(t).tolist() for t in after.graph.initializer] == [[2, 3]]


def test_a_node_with_several_outputs_folds(tmp_path):
    proto = adding(
        node("Split", ["w"], ["a", "b"], "split", axis=0),
        node("Mul", ["a", "b"], ["c"]),
        w=np.array([1, 2, 3, 4], np.float32),
    )
    done, after = apply(proto, tmp_path)
    assert ops(after) == ["Add"]
    assert same_outputs(proto, after, atol=0)
    assert done.nodes_after == 1


def test_a_weight_read_twice_is_replaced_in_both_places(tmp_path):
    nodes = [node("Neg", ["w"], ["c"], "neg"), node("Add", ["x", "c"], ["a"]), node("Mul", ["a", "c"], ["y"])]
    proto = model(nodes, [("x", ["n", 2])], [("y", ["n", 2])], {"w": weights(2)})
    _done, after = apply(proto, tmp_path)
    assert ops(after) == ["Add", "Mul"]
    assert len(after.graph.initializer) == 1
    assert same_outputs(proto, after, atol=0)


def test_a_node_that_reads_an_input_is_left_alone(tmp_path):
    proto = adding(c=weights(2))
    done, after = apply(proto, tmp_path)
    assert done.applied == done.declined == ()
    assert ops(after) == ["Add"]


def test_declines_where_the_graph_hands_the_constant_out(tmp_path):
    proto = handed_out()
    done, after = apply(proto, tmp_path)
    assert [(d.node, d.reason) for d in done.declined] == [("neg", "the graph hands the constant out")]
    assert same_outputs(proto, after, atol=0)


def test_declines_to_make_a_small_model_large(tmp_path, monkeypatch):
    monkeypatch.setattr(constant_nodes, "_LARGEST", 1 << 20)
    proto = model(
        [node("Expand", ["w", "shape"], ["c"], "expand"), node("Add", ["x", "c"], ["y"])],
        [("x", [1])], [("y", [1 << 19])], {"w": weights(1), "shape": np.array([1 << 19])},
    )  # fmt: skip
    done, after = apply(proto, tmp_path)
    assert [(d.node, d.reason) for d in done.declined] == [("expand", "its result is 2 MiB")]
    assert ops(after) == ["Expand", "Add"]


def test_rearranging_a_large_weight_is_no_growth(tmp_path, monkeypatch):
    monkeypatch.setattr(constant_nodes, "_LARGEST", 16)
    proto = model(
        [node("Transpose", ["w"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"], ["y"])],
        [("x", ["n", 8])], [("y", ["n", 4])], {"w": weights((4, 8))},
    )  # fmt: skip
    _done, after = apply(proto, tmp_path)
    assert ops(after) == ["MatMul"]
    assert initializer(after, after.graph.node[0].input[1]).shape == (8, 4)


def handed_out():
    nodes = [node("Neg", ["w"], ["z"], "neg"), node("Relu", ["x"], ["y"])]
    return model(nodes, [("x", ["n"])], [("y", ["n"]), ("z", [2])], {"w": weights(2)})


def failing_branch():
    """A branch that is never taken reads beyond the end of a weight."""
    reads = [node("Gather", ["w", "beyond"], ["g"]), node("Add", ["x", "g"], ["b"])]
    branches = {
        "then_branch": helper.make_graph([node("Neg", ["x"], ["a"])], "then", [], [tensor("a", [None])]),
        "else_branch": helper.make_graph(reads, "else", [], [tensor("b", [None])]),
    }
    parameters = {"w": weights(2), "yes": np.array(True), "beyond": np.array([9])}
    return model([node("If", ["yes"], ["y"], **branches)], [("x", ["n"])], [("y", [None])], parameters)


def sequence():
    nodes = [
        node("SequenceConstruct", ["w", "w"], ["s"]),
        node("ConcatFromSequence", ["s"], ["c"], axis=0),
        node("Add", ["x", "c"], ["y"]),
    ]
    return model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], {"w": weights(2)})


GUARDS = {
    "the graph hands the constant out": handed_out,
    "ONNX Runtime cannot compute it by itself": failing_branch,
    "it makes something else than tensors": sequence,
}
