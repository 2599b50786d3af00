import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import cnn, node, ops, save, tensor

from trtbuild.errors import UsageError
from trtbuild.rewriter import explain, rewrite


@pytest.fixture
def done(tmp_path):
    source = save(cnn(), tmp_path / "in.onnx")
    return rewrite(source, tmp_path), source


def test_a_node_that_an_edit_took_away(done):
    lines = explain(*done, "bn")
    assert lines[0] == "bn (BatchNormalization), no longer there"
    assert "  conv_batchnorm: folded into conv1" in lines


def test_a_node_where_nothing_was_done_lists_the_rules_that_looked(done):
    lines = explain(*done, "conv1")
    assert lines[0] == "conv1 (Conv), still there"


def test_an_unknown_node_is_an_error_with_the_nearest_name(done):
    with pytest.raises(UsageError, match="did you mean 'conv1'"):
        explain(*done, "conv_1")


def branches():
    """An If whose branches hold a Dropout each, which read a tensor from outside."""
    inner = {}
    for word, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
        nodes = [node("Dropout", ["x"], [f"d_{word}"], f"drop_{word}"), node(op, [f"d_{word}"], [f"o_{word}"])]
        inner[word] = helper.make_graph(nodes, word, [], [tensor(f"o_{word}", ["n", 4])])
    nodes = [node("If", ["flag"], ["y"], "if", **inner)]
    graph = helper.make_graph(
        nodes, "g", [tensor("flag", [], TensorProto.BOOL), tensor("x", ["n", 4])], [tensor("y", ["n", 4])]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_subgraphs_are_entered_and_their_nodes_explained(tmp_path):
    source = save(branches(), tmp_path / "in.onnx")
    done = rewrite(source, tmp_path, skip=["clean_up"], prove=True)
    assert sorted(e.node for e in done.applied) == ["drop_else_branch", "drop_then_branch"]
    after = onnx.load(str(done.model.path))
    assert sorted(n.op_type for a in after.graph.node[0].attribute for n in a.g.node) == ["Neg", "Relu"]
    assert ops(after) == ["If"]
    assert explain(done, source, "drop_then_branch")[0] == "drop_then_branch (Dropout), no longer there"


def test_metadata_stays_with_its_node_and_goes_to_what_stands_for_it(tmp_path):
    proto = cnn()
    for n in proto.graph.node:
        n.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', '{n.name}']")
    done = rewrite(save(proto, tmp_path / "in.onnx"), tmp_path)
    after = onnx.load(str(done.model.path))
    assert {n.name: n.metadata_props[0].value for n in after.graph.node} == {
        n.name: f"['', '{n.name}']" for n in after.graph.node
    }
