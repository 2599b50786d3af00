import tempfile
from collections import Counter
from pathlib import Path

from graph_strategies import graphs
from hypothesis import given, settings
from onnx_models import save

from trtbuild.differences import diff_onnx

MODELS = graphs().map(lambda drawn: drawn[0])


def changes_of(before, after):
    with tempfile.TemporaryDirectory() as folder:
        return diff_onnx(save(before, Path(folder) / "a.onnx"), save(after, Path(folder) / "b.onnx"))


@settings(max_examples=25)
@given(MODELS)
def test_a_graph_does_not_differ_from_itself(proto):
    found = changes_of(proto, proto)
    assert found.same
    assert found.changes == ()


@settings(max_examples=25)
@given(MODELS, MODELS)
def test_any_two_graphs_differ_alike_from_both_sides(one, other):
    there, back = changes_of(one, other), changes_of(other, one)
    assert Counter(repr(c) for c in there.changes) == Counter(repr(c.mirrored) for c in back.changes)
    assert there.same == back.same == (there.before == there.after)


@settings(max_examples=25)
@given(MODELS)
def test_a_graph_under_other_names_computes_the_same(proto):
    other = type(proto)()
    other.CopyFrom(proto)
    for number, node in enumerate(other.graph.node):
        node.name = f"other_{number}"
    found = changes_of(proto, other)
    assert found.equivalent
    assert {c.topic for c in found.changes} <= {"name"}
