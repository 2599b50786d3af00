import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnx_models import model, node, tensor, weights
from rewriting import apply, holds


def attention(
    op="Div", factor=3.0, *, place="keys", turns=1, rank=3, other=True, outputs=(), swapped=False, kind=np.float32
):
    """Scores of queries and keys with a factor, and a product of the queries with positions."""
    queries, keys = (["b", "q", 4], ["b", "k", 4]) if rank == 3 else (["q", 4], ["k", 4])
    perm = [0, 2, 1] if rank == 3 else [1, 0]
    fixed = {"c": np.asarray(factor, kind), "positions": weights((4, 7), scale=9).astype(kind)}
    flip = node("Transpose", ["keys"], ["flipped"], "flip", perm=perm)
    nodes, last = ([flip], "flipped") if turns % 2 == 0 else ([], "keys")
    if place == "keys":
        nodes.append(node(op, ["c", last] if swapped else [last, "c"], ["scaled"], "scale"))
        last = "scaled"
    for i in range(turns):
        nodes.append(node("Transpose", [last], [f"turn{i}"], perm=perm))
        last = f"turn{i}"
    nodes.append(node("MatMul", ["queries", last], ["scores"], "product"))
    last = "scores"
    if place == "scores":
        nodes.append(node(op, ["c", last] if swapped else [last, "c"], ["scaled"], "scale"))
        last = "scaled"
    nodes.append(node("Softmax" if kind == np.float32 else "Neg", [last], ["y"]))
    if other:
        nodes.append(node("MatMul", ["queries", "positions"], ["z"], "other"))
    number = TensorProto.FLOAT if kind == np.float32 else TensorProto.INT32
    more = [1] * (np.ndim(factor) - rank)
    shapes = {"y": [*more, *queries[:-1], "k"], "z": [*queries[:-1], 7], "scores": [*queries[:-1], "k"]}
    shapes["scaled"] = shapes["scores"] if place == "scores" else None
    told = ["y", *(["z"] if other else []), *outputs]
    return model(
        nodes,
        [tensor("queries", queries, number), tensor("keys", keys, number)],
        [tensor(o, shapes[o], number) for o in told],
        fixed,
    )


def reads(proto, name):
    return next(list(n.input) for n in proto.graph.node if name in n.output)


@settings(max_examples=30, deadline=None)
@given(
    op=st.sampled_from(["Mul", "Div"]),
    place=st.sampled_from(["keys", "scores"]),
    turns=st.sampled_from([0, 1, 2, 3]),
    rank=st.sampled_from([2, 3]),
    shape=st.sampled_from([(), (1,), (1, 1)]),
    factor=st.floats(0.125, 8),
)
def test_property(op, place, turns, rank, shape, factor):
    proto = attention(op, np.full(shape, factor), place=place, turns=turns, rank=rank)
    after = holds(proto, "query_scale", sizes=[{"b": 2, "q": 3, "k": 5}, {"b": 1, "q": 1, "k": 2}])
    assert after.rules == ["query_scale"]
    assert sorted(after.ops) == sorted("Mul" if n.op_type == op else n.op_type for n in proto.graph.node)
    scaled = next(n for n in after.model.graph.node if n.op_type == "Mul")
    assert scaled.input[0] == "queries"
    assert reads(after.model, "z")[0] == "queries"


@settings(max_examples=20, deadline=None)
@given(
    ops=st.tuples(st.sampled_from(["Mul", "Div"]), st.sampled_from(["Mul", "Div"])),
    place=st.sampled_from(["keys", "scores"]),
    factor=st.floats(0.125, 8),
    handed_out=st.booleans(),
)
def test_a_factor_of_the_queries_and_one_of_the_keys_become_one(ops, place, factor, handed_out):
    proto = attention(ops[0], 2.0, place=place, other=False)
    product = next(n for n in proto.graph.node if n.name == "product")
    product.input[0] = "own"
    proto.graph.node.insert(0, node(ops[1], ["queries", "d"], ["own"]))
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(factor).reshape(()), "d"))
    if handed_out:
        proto.graph.output.append(tensor("own", ["b", "q", 4]))
    after = holds(proto, "query_scale")
    assert after.rules == ([] if handed_out else ["query_scale"])
    assert sum(after.ops.count(op) for op in ("Mul", "Div")) == 1 + handed_out


@pytest.mark.parametrize("number", [np.arange(1, 5), np.ones((1, 1, 1, 1))])
def test_queries_times_more_than_a_number_have_no_factor(number):
    proto = attention(other=False)
    next(n for n in proto.graph.node if n.name == "product").input[0] = "own"
    proto.graph.node.insert(0, node("Mul", ["queries", "d"], ["own"]))
    proto.graph.initializer.append(numpy_helper.from_array(number.astype(np.float32), "d"))
    assert apply(proto, "query_scale").done.applied == ()


def test_what_is_divided_by_zero_has_no_factor():
    assert apply(attention("Div", 0.0), "query_scale").done.applied == ()


def test_products_of_the_queries_are_parted_until_one_is_left():
    proto = attention(place="scores")
    proto.graph.node.extend([node("MatMul", ["queries", "more"], ["t"]), node("Mul", ["t", "c"], ["w"])])
    proto.graph.input.append(tensor("more", ["b", 4, 5]))
    proto.graph.output.append(tensor("w", ["b", "q", 5]))
    after = holds(proto, "query_scale")
    assert after.rules == ["query_scale"] * 2
    firsts = {n.input[0] for n in after.model.graph.node if n.op_type == "MatMul"}
    assert len(firsts) == 3


def test_an_attention_alone_keeps_its_factor():
    assert apply(attention(other=False), "query_scale").done.applied == ()


def test_a_second_operand_of_another_product_is_no_reason():
    proto = attention(other=False)
    proto.graph.node.append(node("MatMul", ["p", "queries"], ["z"]))
    proto.graph.input.append(tensor("p", ["b", 2, "q"]))
    proto.graph.output.append(tensor("z", ["b", 2, 4]))
    assert apply(proto, "query_scale").done.applied == ()


@pytest.mark.parametrize("place", ["keys", "scores"])
def test_a_constant_that_is_divided_is_no_factor(place):
    assert apply(attention("Div", place=place, swapped=True), "query_scale").done.applied == ()


@pytest.mark.parametrize("name", ["scores", "scaled"])
def test_scores_that_are_handed_out_before_their_factor_stay(name):
    after = holds(attention(place="scores", outputs=(name,)), "query_scale")
    assert (after.rules == ["query_scale"]) == (name == "scaled")


def test_keys_that_are_read_with_their_factor_keep_it():
    proto = attention()
    proto.graph.output.append(tensor("turn0", ["b", 4, "k"]))
    after = apply(proto, "query_scale")
    assert after.reasons == ["another node reads the keys with their factor"]


GUARDS = {
    "the factor is more than one number": lambda: attention("Mul", np.arange(1, 5), turns=1),
    "the factor adds an axis, or the rank is not known": lambda: attention(
        "Mul", np.ones((1, 1, 1)), place="scores", rank=2
    ),
    "a quotient of integers is cut off": lambda: attention(factor=2, place="scores", kind=np.int32),
}
