"""Which edit of the rules makes a graph's outputs differ: found by halving, with its rule and its node."""

import numpy as np
import pytest
from onnx_models import cnn, random_feed, save

from trtbuild.errors import UsageError
from trtbuild.rewriter import wrong_edits

WRONG = """
from trtbuild.rewriter.graph import Edit

OPS = ("Relu",)
AFTER = ()
BACKENDS = ()


def propose(node, graph):
    return Edit("made a {op}", lambda: graph.substitute(node, graph.insert("{op}", node.inputs[0], at=node)))
"""


@pytest.fixture
def small(tmp_path):
    proto = cnn(opset=22)
    return save(proto, tmp_path / "in.onnx"), random_feed(proto, 3, n=2)


def rule(folder, name, op):
    (folder / f"{name}.py").write_text(WRONG.format(op=op), encoding="utf-8")
    return folder / f"{name}.py"


def test_the_rule_and_the_node_are_named_and_the_wrong_graph_is_kept(small, tmp_path):
    model, feed = small
    right, wrong, edits = wrong_edits(model, tmp_path, feed, rules=[rule(tmp_path, "relu_is_tanh", "Tanh")])
    assert right.path == model
    assert [(e.edit.rule, e.edit.node) for e in edits] == [("relu_is_tanh", "relu")]
    assert "differs by" in edits[0].difference
    assert b"Tanh" in wrong.path.read_bytes()


def test_two_wrong_rules_are_both_named(small, tmp_path):
    model, feed = small
    rules = [rule(tmp_path, "b_wrong", "Softplus"), rule(tmp_path, "a_wrong", "Tanh")]
    _, _, edits = wrong_edits(model, tmp_path, feed, rules=rules)
    assert {e.edit.rule for e in edits} == {"a_wrong", "b_wrong"}


def test_rules_that_are_right_are_not_named(small, tmp_path):
    model, feed = small
    assert wrong_edits(model, tmp_path, feed)[2] == ()


def test_a_feed_the_model_cannot_take_is_the_users_mistake(small, tmp_path):
    model, feed = small
    with pytest.raises(UsageError, match="does not run"):
        wrong_edits(model, tmp_path, {name: np.zeros((1,), value.dtype) for name, value in feed.items()})
