import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import model, node, tensor, weights
from rewriting import apply, holds


def linear(shape=("n", 2, 3, 4), *, bias_shape=(5,), left=False, extra=(), outputs=()):
    reads = ["b", "p"] if left else ["p", "b"]
    nodes = [
        node("MatMul", ["x", "w"], ["p"], "product"),
        node("Add", reads, ["a"], "bias"),
        node("Relu", ["a"], ["y"]),
    ]
    out = [*shape[:-1], 5]
    fixed = {"w": weights((4, 5), 1), "b": weights(bias_shape, 2)}
    return model([*nodes, *extra], [("x", list(shape))], [("y", out), *((o, out) for o in outputs)], fixed)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.sampled_from([("n", 2, 3, 4), (2, 2, 3, 4), ("n", "h", "w", 4), ("n", 2, "w", 3, 4), (1, "h", 3, 4)]),
    bias_shape=st.sampled_from([(5,), (1, 5), (1,), (1, 1, 1, 5)]),
    left=st.booleans(),
    handed_out=st.booleans(),
)
def test_a_linear_layer_works_on_rows(shape, bias_shape, left, handed_out):
    proto = linear(shape, bias_shape=bias_shape, left=left, outputs=("a",) if handed_out else ())
    after = holds(proto, "flatten_linear")
    assert [(e.rule, e.covers) for e in after.done.applied] == [("flatten_linear", ("bias",))]
    assert after.ops.count("Reshape") == 2
    assert after.ops.count("Shape") == (1 if sum(isinstance(d, str) for d in shape) > 1 else 0)


@pytest.mark.parametrize(
    "proto",
    [
        linear(bias_shape=(3, 5)),
        linear(outputs=("p",)),
        linear(extra=[node("Neg", ["p"], ["z"])], outputs=("z",)),
    ],
    ids=["another axis", "handed out", "read twice"],
)
def test_without_a_bias_of_its_own_it_stays(proto):
    after = holds(proto, "flatten_linear")
    assert after.done.applied == ()


def test_declines_what_is_added_but_no_bias():
    assert apply(linear(bias_shape=(3, 5)), "flatten_linear").reasons == ["what is added is no bias"]


def test_three_axes_stay():
    assert apply(linear(("n", 3, 4)), "flatten_linear").done.applied == ()


def test_a_computed_or_batched_weight_stays():
    proto = linear()
    proto.graph.input.append(tensor("w", [4, 5]))
    kept = [t for t in proto.graph.initializer if t.name != "w"]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    assert apply(proto, "flatten_linear").done.applied == ()


def test_the_weights_are_the_same():
    after = holds(linear(), "flatten_linear")
    found = {t.name for t in after.model.graph.initializer}
    assert "w" in found


GUARDS = {}
