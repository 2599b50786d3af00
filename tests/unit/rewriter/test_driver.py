import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper
from onnx_models import branching, cnn, initializer, mlp, model, node, ops, same_outputs, save, tensor, weights

from trtbuild import rewriter
from trtbuild.errors import InvalidOnnxError, TrtbuildError, UsageError
from trtbuild.rewriter import Rule, rewrite, rule_names
from trtbuild.rewriter.graph import Edit, GraphView
from trtbuild.rewriter.rule import ordered


def rewritten(proto, tmp_path, **options):
    done = rewrite(save(proto, tmp_path / "in.onnx"), tmp_path, **options)
    return done, onnx.load(str(done.model.path))


@pytest.fixture
def rules(monkeypatch):
    """Rules that stand in for the ones there are."""

    def install(**proposals):
        made = [Rule(name, "", ops, propose) for name, (ops, propose) in proposals.items()]
        monkeypatch.setattr(rewriter, "shipped_rules", lambda _names: made)

    return install


@pytest.mark.parametrize("make", [mlp, cnn, branching])
def test_results_stay_the_same_and_a_second_run_is_byte_equal(make, tmp_path):
    first, after = rewritten(make(), tmp_path)
    assert same_outputs(make(), after, atol=1e-5)
    (tmp_path / "again").mkdir()
    second = rewrite(first.model, tmp_path / "again")
    assert second.applied == ()
    assert second.model.sha256 == first.model.sha256


def test_a_subgraph_reads_weights_that_were_folded_outside_of_it(tmp_path):
    done, after = rewritten(branching(), tmp_path)
    assert ("constant_nodes", "two") in [(e.rule, e.node) for e in done.applied]
    assert "Constant" not in ops(after)
    onnx.checker.check_model(after, full_check=True)


def test_what_was_done_is_told(tmp_path):
    done, after = rewritten(cnn(), tmp_path)
    assert [(e.rule, e.node, e.change) for e in done.applied] == [("conv_batchnorm", "bn", "folded into conv1")]
    assert (done.nodes_before, done.nodes_after) == (7, 6) == (7, len(after.graph.node))
    assert done.inputs[0].shape == ("n", 2, 6, 6)
    assert done.outputs[0].shape == ("n", 3)


def test_only_and_skip(tmp_path):
    assert rewritten(cnn(), tmp_path, skip=["conv_batchnorm"])[0].applied == ()
    assert rewritten(cnn(), tmp_path, only=["inference_mode"])[0].applied == ()
    assert "conv_batchnorm" not in rule_names(skip=["conv_batchnorm"])
    assert rule_names(only=["conv_batchnorm"]) == ("conv_batchnorm",)
    with pytest.raises(UsageError, match="did you mean 'conv_batchnorm'"):
        rule_names(only=["conv_batchnrm"])


def test_every_node_gets_a_name_of_its_own(tmp_path):
    proto = mlp()
    for n, name in zip(proto.graph.node, ["", "same", "same", ""], strict=True):
        n.name = name
    names = [n.name for n in rewritten(proto, tmp_path)[1].graph.node]
    assert len(set(names)) == 4
    assert all(names)
    assert "same" in names


def test_inputs_outputs_and_metadata_are_kept(tmp_path):
    proto = cnn()
    proto.metadata_props.add(key="author", value="me")
    _done, after = rewritten(proto, tmp_path)
    assert list(after.graph.input) == list(proto.graph.input)
    assert list(after.graph.output) == list(proto.graph.output)
    assert {p.key: p.value for p in after.metadata_props} == {"author": "me"}


def test_weights_listed_among_the_inputs_are_no_inputs(tmp_path):
    proto = mlp()
    proto.graph.input.append(tensor("w1", [8, 16]))
    done, _after = rewritten(proto, tmp_path)
    assert [t.name for t in done.inputs] == ["x"]


def test_an_input_that_no_node_reads_stays(tmp_path):
    proto = mlp()
    proto.graph.input.append(tensor("unused", ["n", 2]))
    assert [t.name for t in rewritten(proto, tmp_path)[0].inputs] == ["x", "unused"]


def test_an_operator_of_another_domain_is_left_alone(tmp_path):
    proto = model([node("Relu", ["x"], ["r"]), node("Dropout", ["r"], ["y"])], [("x", ["n", 2])], [("y", ["n", 2])])
    proto.graph.node[1].domain = "com.example"
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    done, after = rewritten(proto, tmp_path)
    assert done.applied == ()
    assert ops(after) == ["Relu", "Dropout"]


def to(op):
    return lambda node, _graph: Edit(f"to {op}", lambda: setattr(node, "op", op))


def test_an_edit_that_changes_the_result_is_undone_and_told(tmp_path, rules):
    rules(wrong=(("Relu",), to("Neg")), right=(("Add",), to("Sum")))
    done, after = rewritten(mlp(), tmp_path, only=["inference_mode"])
    assert ops(after) == ["Gemm", "Relu", "Gemm", "Sum"]
    assert "wrong" not in [e.rule for e in done.applied]
    assert any(n.startswith("undone: wrong at relu: with it, output 'y' differs by") for n in done.notes)
    assert same_outputs(mlp(), after, atol=1e-5)
    unchecked = rewritten(mlp(), tmp_path, check=False)[0]
    assert "wrong" in [e.rule for e in unchecked.applied]


def test_the_first_of_several_wrong_edits_is_found_and_the_right_ones_stay(tmp_path, rules):
    nodes = [node("Relu", ["x"], ["a"], "r0"), node("Neg", ["a"], ["b"], "n1"), node("Relu", ["b"], ["c"], "r2")]
    nodes += [node("Neg", ["c"], ["d"], "n3"), node("Abs", ["d"], ["y"], "a4")]
    proto = model(nodes, [("x", ["n", 4])], [("y", ["n", 4])])

    def propose(node, _graph):
        return Edit("?", lambda: setattr(node, "op", "Abs")) if node.name in ("r2", "n3") else None

    rules(some=(("Relu", "Neg"), propose))
    done, after = rewritten(proto, tmp_path, skip=["clean_up"])
    assert [e.node for e in done.applied] == ["n3"]  # |-relu(x)| of r2 is wrong; -x before |x| may go
    assert [n.split(":")[1] for n in done.notes] == [" some at r2"]
    assert same_outputs(proto, after)


def test_prove_compares_inside_the_graph(tmp_path, rules):
    """A wrong edit whose error never reaches the output at the values tried."""
    nodes = [node("Relu", ["x"], ["a"], "r"), node("Mul", ["a", "zero"], ["y"], "m")]
    proto = model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], {"zero": np.float32(0)})
    rules(wrong=(("Relu",), to("Neg")))
    assert [e.rule for e in rewritten(proto, tmp_path, skip=["clean_up"])[0].applied] == ["wrong"]
    proved = rewritten(proto, tmp_path, skip=["clean_up"], prove=True)[0]
    assert proved.applied == ()
    assert "with it, tensor 'a' differs" in proved.notes[0]


def test_a_pre_pass_that_changes_the_result_is_dropped(tmp_path, monkeypatch):
    def broken(proto):
        other = onnx.ModelProto()
        other.CopyFrom(proto)
        other.graph.node[1].op_type = "Neg"
        other.graph.node.append(node("Relu", ["h1"], ["unread"], "more"))
        return other, None

    monkeypatch.setattr(rewriter.prepass, "clean", broken)
    done, after = rewritten(mlp(), tmp_path)
    assert same_outputs(mlp(), after)
    assert done.notes[0].startswith("undone: clean_up at model: with it, output 'y' differs")


def test_rules_that_undo_each_other_are_stopped(tmp_path, rules):
    rules(one=(("Relu",), to("Sigmoid")), two=(("Sigmoid",), to("Relu")))
    with pytest.raises(TrtbuildError, match="one, two keep changing the graph"):
        rewritten(mlp(), tmp_path)


def test_a_rule_that_breaks_the_graph_is_named(tmp_path, rules):
    rules(breaker=(("Add",), lambda node, _graph: Edit("cuts the output off", node.outputs.clear)))
    with pytest.raises(InvalidOnnxError) as caught:
        rewritten(mlp(), tmp_path)
    assert caught.value.place == "rule breaker at skip"


def named(name, *after):
    return Rule(name, "", (), lambda _node, _graph: None, after)


def test_rules_follow_the_ones_they_name():
    a, b, c = named("a", "b", "c"), named("b", "c", "not_chosen"), named("c")
    assert ordered([a, b, c]) == [c, b, a]


def test_rules_in_a_ring_are_an_error():
    with pytest.raises(TrtbuildError, match="a -> b -> a"):
        ordered([named("a", "b"), named("b", "a")])


def test_equal_names_are_not_the_same_tensor():
    graph = gs.Graph(opset=17)
    one, other = gs.Variable("t"), gs.Variable("t")
    graph.outputs = [one]
    view = GraphView(graph)
    assert view.is_output(one)
    assert not view.is_output(other)


def test_new_constants_never_take_a_name_that_is_there():
    graph = gs.import_onnx(mlp())
    made = GraphView(graph).new_constant("w1", np.zeros(1, np.float32))
    assert made.name not in graph.tensors()


def test_a_broken_model_is_refused_before_any_rule(tmp_path):
    proto = mlp()
    proto.graph.node[0].input[1] = "nothing"
    with pytest.raises(InvalidOnnxError):
        rewritten(proto, tmp_path)


def test_integer_and_boolean_inputs_can_be_proved(tmp_path):
    nodes = [
        node("Dropout", ["t"], ["d"]),
        node("Gather", ["t", "ids"], ["g"]),
        node("Where", ["on", "g", "zero"], ["y"]),
    ]
    inputs = [tensor("ids", ["n"], TensorProto.INT64), tensor("on", [], TensorProto.BOOL), tensor("t", [3, 2])]
    nodes[1].input[0] = "d"
    proto = model(nodes, inputs, [("y", ["n", 2])], {"zero": np.float32(0)})
    assert rewritten(proto, tmp_path, skip=["clean_up"])[0].applied[0].rule == "inference_mode"


def test_a_sequence_among_the_inputs_is_refused_by_name(tmp_path):
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 4]))
    proto = model([node("ConcatFromSequence", ["parts"], ["y"], axis=0)], [], [("y", ["m", 4])])
    proto.graph.input.append(helper.make_value_info("parts", kind))
    with pytest.raises(InvalidOnnxError, match="tensors only") as caught:
        rewritten(proto, tmp_path)
    assert "'parts'" in str(caught.value)


def test_values_are_kept_to_the_bit_where_nothing_applies(tmp_path):
    assert (initializer(rewritten(mlp(), tmp_path)[1], "w1") == weights((8, 16), 1, 0.5)).all()
