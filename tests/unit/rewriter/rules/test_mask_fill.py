import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_models import model, node, tensor
from rewriting import apply, holds

LOWEST = float(np.finfo(np.float32).min)
SCORES = ["b", 2, "q", "k"]


def masked(
    lowest=-np.inf, *, mask=("b", 1, "q", "k"), negated=False, swapped=False, ndim=(0, 0), readers=1, zero=0.0,
    reader="Softmax",
):  # fmt: skip
    """Scores, a mask added to them, and a Softmax; more readers of the mask are more of these."""
    fixed = {"zero": np.full((1,) * ndim[0], zero, np.float32), "lowest": np.full((1,) * ndim[1], lowest, np.float32)}
    nodes = [node("Where", ["m", *(("lowest", "zero") if negated else ("zero", "lowest"))], ["a"], "choice")]
    for i in range(readers):
        nodes.append(node("Add", ["a", "x"] if swapped else ["x", "a"], [f"s{i}"]))
        nodes.append(node(reader, [f"s{i}"], [f"w{i}"]))
        # a row that is masked throughout gives NaN: exporters write zeros there, and NaN could not be compared
        nodes += [
            node("IsNaN", [f"w{i}"], [f"n{i}"]),
            node("Where", [f"n{i}", "nought", f"w{i}"], [f"y{i}"], f"guard{i}"),
        ]
    more = [1] * (max(ndim) - 4)
    inputs = [tensor("x", SCORES), tensor("m", list(mask), TensorProto.BOOL)]
    outputs = [(f"y{i}", [*more, *SCORES]) for i in range(readers)]
    return model(nodes, inputs, outputs, fixed | {"nought": np.float32(0)})


@settings(max_examples=25, deadline=None)
@given(
    lowest=st.sampled_from([-np.inf, LOWEST]),
    mask=st.sampled_from([("b", 1, "q", "k"), ("b", 1, 1, "k"), ("q", "k"), (1,)]),
    negated=st.booleans(),
    swapped=st.booleans(),
    ndim=st.sampled_from([(0, 0), (1, 1), (4, 4), (0, 5)]),
    readers=st.sampled_from([1, 2]),
)
def test_property(lowest, mask, negated, swapped, ndim, readers):
    proto = masked(lowest, mask=mask, negated=negated, swapped=swapped, ndim=ndim, readers=readers)
    after = holds(proto, "mask_fill", sizes=[{"b": 2, "q": 3, "k": 3}, {"b": 1, "q": 1, "k": 4}])
    assert after.rules == ["mask_fill"] * readers
    assert "Add" not in after.ops
    assert after.ops.count("Where") == 2 * readers


def test_a_negated_mask_is_asked_directly():
    proto = masked(negated=True)
    proto.graph.node.insert(0, node("Not", ["m"], ["other"]))
    proto.graph.node[1].input[0] = "other"
    after = holds(proto, "mask_fill", "where_not")
    assert sorted(after.rules) == ["mask_fill", "where_not"]
    assert "Not" not in after.ops


@pytest.mark.parametrize(("lowest", "zero"), [(-1e9, 0.0), (-np.inf, 1.0), (np.inf, 0.0)])
def test_other_numbers_are_added(lowest, zero):
    assert apply(masked(lowest, zero=zero), "mask_fill").done.applied == ()


def test_a_sum_that_is_read_otherwise_is_left_alone():
    after = apply(masked(reader="Exp"), "mask_fill")
    assert after.reasons == ["it is no Softmax that reads the sum"]


GUARDS = {"the zero adds an axis, or the ranks are not known": lambda: masked(ndim=(5, 0))}
