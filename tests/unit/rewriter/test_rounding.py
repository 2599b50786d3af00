"""The second opinion on a difference: it excuses rounding, and nothing else."""

import numpy as np
import pytest
from onnx_models import save
from onnx_text import parsed
from rewriting import holds

from trtbuild.rewriter import proof, rewrite, rounding
from trtbuild.rewriter.proof import Proof
from trtbuild.rewriter.rounding import roundings

# x / 1000 + 4.5 loses the last digits of x, and the LayerNorm divides by what is left of it; a + b = 4.5 in any case
NORM = """g (float[n, 8] x) => (float[n, 8] y)
    <float[1] scale = {{0.001}}, float[1] a = {{{a}}}, float[1] b = {{{b}}}, float[1] gain = {{{gain}}},
     float[1] eps = {{1e-12}}, int64[1] last = {{-1}}>
    {{ t = Mul (x, scale)  u = Add (t, a)  v = Add (u, b)  mean = ReduceMean (v, last)  c = Sub (v, mean)
       s = Mul (c, c)  m = ReduceMean (s, last)  e = Add (m, eps)  r = Sqrt (e)  q = Div (c, r)  y = Mul (q, gain) }}"""

# the sum of what was centred is zero but for rounding, so either branch may be taken
BRANCH = """g (float[n, 8] x) => (float[n, 8] y)
    <float[8] w = {{1, 2, 3, 4, 5, 6, 7, {last}}}, float zero = {{0}}, int64[1] axis = {{-1}}, float[1] a = {{{a}}},
     float[1] b = {{{b}}}>
    {{ u = Add (x, a)  v = Add (u, b)  mean = ReduceMean (v, axis)  c = Sub (v, mean)
       total = ReduceSum <keepdims = 0> (c)  above = Greater (total, zero)
       y = If (above) <then_branch = yes () => (float[n, 8] p) {{ p = {ops[0]} (c, w) }},
                       else_branch = no () => (float[n, 8] q) {{ q = {ops[1]} (c, w) }}> }}"""


def norm(a=3.3, b=1.2, gain=3.0):
    return parsed(NORM.format(a=a, b=b, gain=gain))


def branch(a=3.3, b=1.2, last=8, ops=("Add", "Mul")):
    return parsed(BRANCH.format(a=a, b=b, last=last, ops=ops))


@pytest.mark.parametrize(("original", "same"), [(norm(), norm(4.6, -0.1)), (branch(), branch(2.9, 1.6))])
def test_a_difference_that_rounding_explains_is_none(original, same, monkeypatch):
    held = Proof(original, [], thorough=False)
    assert held.difference(same) is None
    assert held.excused
    assert all("output 'y' differs by" in each for each in held.excused)
    monkeypatch.setattr(proof, "roundings", lambda *_: {})
    assert "output 'y' differs by" in Proof(original, [], thorough=False).difference(same)


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize(
    ("original", "wrong"),
    [
        (norm(), norm(4.6, -0.1, gain=3.1)),
        (norm(), norm(4.6, -0.1, gain=-3.0)),
        (branch(), branch(2.9, 1.6, last=8.1)),
        (branch(), branch(2.9, 1.6, ops=("Sub", "Div"))),
    ],
)
def test_a_wrong_edit_of_an_ill_conditioned_graph_is_still_seen(original, wrong, thorough):
    assert Proof(original, [], thorough=thorough).difference(wrong) is not None


def ask(proto, size=3):
    """The feed of a proof and the second opinion on its tensors."""
    feed, wanted = Proof(proto, [], thorough=True).wanted[0]
    return feed, roundings(proto, feed, wanted)


def test_the_exact_result_is_that_of_double_precision():
    feed, found = ask(norm())
    v = feed["x"].astype(np.float64) * np.float32(0.001) + np.float32(3.3) + np.float64(np.float32(1.2))
    exact = 3 * (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + np.float32(1e-12))
    assert np.allclose(found["y"].ways[0][0], exact, rtol=1e-11, atol=0)
    assert 1e-4 < found["y"].error.max() < 0.1, "float32 loses three to four digits here"


def test_constants_and_casts_inside_the_graph_are_double_too():
    text = """g (float[4] x) => (float[4] y)
        { c = Constant <value = float[1] {0.1}> ()  h = Cast <to = 10> (x)  f = Cast <to = 1> (h)  y = Mul (f, c) }"""
    feed, found = ask(parsed(text))
    exact = found["y"].ways[0][0]
    assert np.array_equal(exact, feed["x"].astype(np.float64) * np.float64(np.float32(0.1)))
    assert found["f"].error.max() > 1e-5, "what the cast to half precision loses is an error of the original"


def test_elements_are_gathered_from_fewer_rows_than_there_are():
    text = """g (float[3, 4] x) => (float[2, 4] y) <int64[2, 4] i = {0, 2, 1, -1, 1, 1, 0, 2}>
        { y = GatherElements <axis = 0> (x, i) }"""
    feed, found = ask(parsed(text))
    assert np.array_equal(found["y"].ways[0][0], feed["x"][[[0, 2, 1, 2], [1, 1, 0, 2]], np.arange(4)])


def test_whole_numbers_are_exact():
    _, found = ask(
        parsed("g (float[8] x) => (float[8] y, bool[8] z) { r = Round (x)  y = Add (r, r)  z = Equal (y, r) }")
    )
    assert found["y"].error.max() == 0
    assert all(np.array_equal(each, found["z"].ways[0][0]) for way in found["z"].ways for each in way)


def test_infinities_and_nan_must_be_where_they_were():
    mask = "g (float[4] x) => (float[4] y) <float[4] m = {-inf, 0, 0, 0}> { y = Add (x, m) }"
    _, found = ask(parsed(mask))
    exact = found["y"].ways[0][0]
    assert found["y"].explains(exact.astype(np.float32), 1e-6)
    for other in (0.0, np.nan, np.inf):
        assert not found["y"].explains(np.array([other, *exact[1:]]), 1e-6)
        assert not found["y"].explains(np.array([-np.inf, other or np.inf, *exact[2:]]), 1e-6)


def test_without_the_evaluator_the_runtime_is_asked(monkeypatch):
    other_domain = norm()
    other_domain.graph.node[0].op_type = "ScaledTanh"  # ONNX Runtime keeps it from ONNX's beginnings, the evaluator not
    assert roundings(other_domain, {"x": np.ones((2, 8), np.float32)}, {"y": np.ones((2, 8), np.float32)}) == {}
    monkeypatch.setattr(rounding, "_LARGEST", 2 * 8 * 8)  # bytes: less than the graph takes
    held = Proof(norm(), [], thorough=False)
    assert held.difference(norm(4.6, -0.1)) is None
    assert held.difference(norm(4.6, -0.1, gain=3.1)) is not None


def test_an_evaluator_that_computes_something_else_is_not_believed():
    proto = parsed("g (float[4] x) => (float[4] y) { y = Sigmoid (x) }")
    feed, wanted = Proof(proto, [], thorough=False).wanted[0]
    assert roundings(proto, feed, {"y": wanted["y"] + 0.01}) == {}
    assert roundings(proto, feed, wanted).keys() == {"y"}


RULE = '''"""Sums constants first."""
from trtbuild.rewriter.graph import Edit
OPS = ("Add",)

def propose(node, graph):
    inner = graph.producer(node.inputs[0], "Add")
    if inner is None or node.outputs[0].name != "v":
        return None
    total = graph.constant(inner.inputs[1]) + graph.constant(node.inputs[1])
    return Edit("summed", lambda: graph.substitute(node, graph.insert("Add", inner.inputs[0], total, at=node)))
'''


def test_a_rule_is_not_undone_for_rounding_and_the_report_says_so(tmp_path):
    (tmp_path / "my_rule.py").write_text(RULE)
    done = rewrite(save(norm(), tmp_path / "in.onnx"), tmp_path, only=["my_rule"], rules=[tmp_path / "my_rule.py"])
    assert [e.rule for e in done.applied] == ["my_rule"]
    assert any("rounding errors of the original explain" in note for note in done.notes)


def test_what_onnx_runtime_makes_of_nothing_is_not_held_against_a_rewrite():
    text = """g (float[0, 2, 3, 3] x) => (float[0, 2, 1, 1] y, float[0, 2, 3, 3] z) <int64[1] last = {-1}>
        { z = Relu (x)  m = ReduceMean (x, last)  y = AveragePool <kernel_shape = [3, 1]> (m) }"""
    assert holds(parsed(text), "global_average_pool").rules == ["global_average_pool"]


def test_nor_is_it_where_only_the_rewritten_graph_reduces_nothing():
    head = "g (float[0, 2, 3, 3] x) => (float[0, 2, 3, 1] y, float[0, 2, 3, 3] z)"
    sliced = parsed(
        head + " <int64[1] i = {0}, int64[1] j = {1}, int64[1] a = {-1}> { z = Relu (x)  y = Slice (x, i, j, a) }"
    )
    reduced = parsed(head + " <int64[1] a = {-1}> { z = Relu (x)  y = ReduceMax (x, a) }")
    assert Proof(sliced, [], thorough=False).difference(reduced) is None
