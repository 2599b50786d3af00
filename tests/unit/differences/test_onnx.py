import copy

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import branching, cnn, mlp, node, save, tensor

from trtbuild.differences import diff_onnx, headline, in_words


def initializer(proto, name):
    return next(t for t in proto.graph.initializer if t.name == name)


def the(proto, name):
    return next(n for n in proto.graph.node if n.name == name)


def set_values(proto, name, values):
    initializer(proto, name).CopyFrom(numpy_helper.from_array(values, name))


def add_to_weight(proto):
    values = numpy_helper.to_array(initializer(proto, "w1")).copy()
    values[1, 2] += 0.25
    values[0, 0] -= 0.125
    set_values(proto, "w1", values)


def cast_weight(proto):
    set_values(proto, "b2", numpy_helper.to_array(initializer(proto, "b2")).astype(np.float64))


def scale_gemm(proto):
    the(proto, "fc1").attribute.append(helper.make_attribute("alpha", 0.5))


def swap_operator(proto):
    the(proto, "relu").op_type = "Tanh"


def drop_relu(proto):
    proto.graph.node.remove(the(proto, "relu"))
    the(proto, "fc2").input[0] = "h1"


def insert_identity(proto):
    proto.graph.node.insert(1, node("Identity", ["h1"], ["h1b"], "copy"))
    the(proto, "relu").input[0] = "h1b"


def shadow(proto):
    """A new node takes over the name of the tensor that the old one made, as casting writes it."""
    the(proto, "fc1").output[0] = "raw"
    proto.graph.node.insert(1, node("Identity", ["raw"], ["h1"], "copy"))


def drop_bias(proto):
    del the(proto, "fc1").input[2:]


def widen_input(proto):
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4


def rename_output(proto):
    proto.graph.output[0].name = "z"
    the(proto, "skip").output[0] = "z"


def raise_opset(proto):
    proto.opset_import[0].version = 18


CHANGES = {
    add_to_weight: {("weight", "w1", 0.25)},
    cast_weight: {("weight", "b2", 0.0)},
    scale_gemm: {("attribute", "fc1 alpha", None)},
    swap_operator: {("operator", "Relu", None), ("operator", "Tanh", None), ("node", "relu", None)},
    drop_relu: {("operator", "Relu", None), ("node", "relu", None), ("wiring", "fc2", None)},
    insert_identity: {("operator", "Identity", None), ("node", "copy", None), ("wiring", "relu", None)},
    shadow: {("operator", "Identity", None), ("node", "copy", None), ("wiring", "relu", None)},
    drop_bias: {("wiring", "fc1", None)},
    widen_input: {("input", "x", None)},
    rename_output: {("output", "y", None), ("output", "z", None)},
    raise_opset: {("opset", "ai.onnx", None)},
}  # fmt: skip


def found(before, after, folder):
    return diff_onnx(save(before, folder / "a.onnx"), save(after, folder / "b.onnx"))


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_a_change_is_found_and_nothing_else(change, tmp_path):
    after = mlp()
    change(after)
    difference = found(mlp(), after, tmp_path)
    assert {(c.topic, c.name, c.size) for c in difference.changes} == CHANGES[change]
    assert not difference.same
    assert not difference.equivalent
    assert headline(difference) == "two different graphs"


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_the_other_way_round_it_is_mirrored(change, tmp_path):
    after = mlp()
    change(after)
    there, back = found(mlp(), after, tmp_path), found(after, mlp(), tmp_path)
    assert set(map(repr, there.changes)) == {repr(c.mirrored) for c in back.changes}
    assert (there.before, there.after) == (back.after, back.before)


def test_the_same_file_twice_is_the_same(tmp_path):
    path = save(cnn(), tmp_path / "a.onnx")
    difference = diff_onnx(path, path)
    assert (difference.same, difference.changes, in_words(difference)) == (True, (), ["the same model"])


def renamed(proto, *, nodes, tensors):
    """Every node or every inner tensor and weight under another name."""
    after = copy.deepcopy(proto)
    outside = {v.name for v in (*after.graph.input, *after.graph.output)}
    for number, each in enumerate(after.graph.node):
        if nodes:
            each.name = f"node_{number}"
        for names in (each.input, each.output) if tensors else ():
            names[:] = [n if n in outside else f"{n}_new" for n in names]
    for weight in after.graph.initializer if tensors else ():
        weight.name = f"{weight.name}_new"
    return after


@pytest.mark.parametrize(("nodes", "tensors"), [(True, False), (False, True), (True, True)])
def test_other_names_are_no_other_graph(nodes, tensors, tmp_path):
    difference = found(cnn(), renamed(cnn(), nodes=nodes, tensors=tensors), tmp_path)
    assert not difference.same
    assert difference.equivalent
    assert {c.topic for c in difference.changes} == ({"name"} if nodes else set())
    assert headline(difference) == "the same graph, other names or bytes"


def test_a_weight_is_found_under_another_name(tmp_path):
    after = renamed(mlp(), nodes=True, tensors=True)
    values = numpy_helper.to_array(initializer(after, "w1_new")).copy()
    values[0, 0] += 2
    set_values(after, "w1_new", values)
    (change,) = [c for c in found(mlp(), after, tmp_path).changes if c.topic != "name"]
    assert (change.topic, change.name, change.size) == ("weight", "w1 = w1_new", pytest.approx(2))


def test_metadata_alone_changes_nothing_that_is_computed(tmp_path):
    after = mlp()
    after.producer_name, after.producer_version = "torch", "2.9"
    after.metadata_props.add(key="source", value="here")
    difference = found(mlp(), after, tmp_path)
    assert difference.equivalent
    assert {(c.topic, c.name) for c in difference.changes} == {
        ("metadata", "producer"), ("metadata", "property source"),
    }  # fmt: skip


def test_a_constant_node_is_a_weight(tmp_path):
    after = mlp()
    weight = initializer(after, "w1")
    after.graph.node.insert(0, node("Constant", [], ["w1"], "w1_value", value=weight))
    after.graph.initializer.remove(weight)
    assert found(mlp(), after, tmp_path).changes == ()


def test_what_a_branch_reads_of_the_graph_around_it_is_compared(tmp_path):
    after = branching()
    the(after, "two").attribute[0].t.CopyFrom(numpy_helper.from_array(np.full(4, 5, np.float32)))
    (change,) = found(branching(), after, tmp_path).changes
    assert (change.topic, change.name, change.size) == ("weight", "c", 3.0)


def test_a_changed_branch_is_an_attribute(tmp_path):
    after = branching()
    branch = next(a for a in the(after, "if").attribute if a.name == "then_branch")
    branch.g.node[0].op_type = "Sub"
    assert [(c.topic, c.name) for c in found(branching(), after, tmp_path).changes] == [("attribute", "if then_branch")]


def quantised(scale):
    proto = mlp()
    proto.graph.initializer.extend(
        [numpy_helper.from_array(np.float32(scale), "s"), numpy_helper.from_array(np.int8(0), "z")]
    )
    proto.graph.node.insert(0, node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantise"))
    proto.graph.node.insert(1, node("DequantizeLinear", ["q", "s", "z"], ["d"], "dequantise"))
    the(proto, "fc1").input[0] = "d"
    return proto


def test_a_scale_says_by_how_much(tmp_path):
    (change,) = found(quantised(0.5), quantised(0.125), tmp_path).changes
    assert (change.topic, change.name, change.before, change.after, change.size) == (
        "scale", "s", [0.5, 0.5], [0.125, 0.125], 4.0,
    )  # fmt: skip
    assert "s: 0.5 -> 0.125, up to 4 times" in "\n".join(in_words(found(quantised(0.5), quantised(0.125), tmp_path)))


def test_quantising_is_told_as_nodes_that_came(tmp_path):
    words = "\n".join(in_words(found(mlp(), quantised(0.5), tmp_path)))
    assert "QuantizeLinear: 0 -> 1" in words
    assert "nodes, 0 gone and 2 new" in words
    assert "fc1: x -> d" in words


@pytest.mark.parametrize(
    ("before", "after", "apart"),
    [
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([1.0, np.nan], [1.0, 0.0], np.inf),
        ([-np.inf, 1.0], [-np.inf, 1.5], 0.5),
        ([0.0, 3e38], [0.0, -3e38], pytest.approx(6e38)),
    ],
)
def test_how_far_weights_are_apart_counts_nan_and_inf(before, after, apart, tmp_path):
    one, other = mlp(2), mlp(2)
    set_values(one, "b2", np.array([*before], np.float32))
    set_values(other, "b2", np.array([*after], np.float32))
    add_to_weight(other)
    sizes = {c.name: c.size for c in found(one, other, tmp_path).changes}
    assert sizes.get("b2", 0.0) == apart


def test_a_reshaped_weight_has_no_distance(tmp_path):
    after = mlp()
    set_values(after, "b1", np.zeros(1, np.float32))
    words = "\n".join(in_words(found(mlp(), after, tmp_path)))
    assert "b1: float32 [16] -> float32 [1]; values differ" in words


def test_external_data_is_read_where_it_lies(tmp_path):
    for name, scale in (("a", 1.0), ("b", 2.0)):
        proto = mlp(64)
        set_values(proto, "w1", np.full((64, 128), scale, np.float32))
        onnx.save(
            proto, str(tmp_path / f"{name}.onnx"), save_as_external_data=True, location=f"{name}.data", size_threshold=0
        )
    (change,) = diff_onnx(tmp_path / "a.onnx", tmp_path / "b.onnx").changes
    assert (change.name, change.size) == ("w1", 1.0)


def test_many_changes_of_a_kind_are_cut_short_in_words_alone(tmp_path):
    after = cnn()
    for number in range(12):
        after.graph.node.append(node("Identity", ["y"], [f"i{number}"], f"copy{number}"))
        after.graph.output.append(tensor(f"i{number}", ["n", 3]))
    difference = found(cnn(), after, tmp_path)
    assert sum(c.topic == "node" for c in difference.changes) == 12
    assert "  and 4 more lines" in in_words(difference)
    assert "  and 4 more lines" not in in_words(difference, shown=None)
