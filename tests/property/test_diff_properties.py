import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from graph_strategies import graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import save

from trtbuild.artifacts import EngineLayer, EngineLayers, LayerTensor
from trtbuild.differences import PlanFile, diff_onnx, diff_plans, in_words

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


KERNELS = st.lists(
    st.builds(
        lambda nodes, kind, precision: EngineLayer(
            f"__myl_{'Resh' if kind == 'reformat' else 'MulAdd'}_0x1" if kind != "mha" else "_gemm_mha_v2",
            "kgen" if kind in ("kgen", "mha", "reformat") else kind,
            precision,
            tuple(nodes),
            (LayerTensor("t", precision, (4, 4)),),
            (LayerTensor("u", "int8", (4, 4)),),
        ),
        st.lists(st.sampled_from("abcdefgh"), max_size=4, unique=True),
        st.sampled_from(["gemm", "kgen", "mha", "reformat"]),
        st.sampled_from(["fp32", "fp16", "int8"]),
    ),
    max_size=8,
)


def plan_of(kernels, digest):
    layers = EngineLayers(tuple(kernels), source="build log")
    return PlanFile(digest, 10, "tensorrt_rtx", "1.7.1.116", ("8.9",), described=True, layers=layers)


@settings(max_examples=40)
@given(KERNELS, KERNELS)
def test_any_two_plans_differ_alike_from_both_sides(one, other):
    before, after = plan_of(one, "a"), plan_of(other, "b")
    there, back = diff_plans(before, after), diff_plans(after, before)
    assert Counter(repr(c) for c in there.changes) == Counter(repr(c.mirrored) for c in back.changes)
    assert in_words(there)
    assert len(in_words(there, shown=None)) >= len(there.changes)


@settings(max_examples=40)
@given(KERNELS.flatmap(lambda kernels: st.tuples(st.just(kernels), st.permutations(kernels))))
def test_the_order_and_the_names_of_kernels_are_no_difference(pair):
    kernels, shuffled = pair
    renamed = [replace(k, tactic=k.name, name=f"other_{number}") for number, k in enumerate(shuffled)]
    found = diff_plans(plan_of(kernels, "a"), plan_of(renamed, "b"))
    assert [c for c in found.changes if c.topic != "reformat"] == []
