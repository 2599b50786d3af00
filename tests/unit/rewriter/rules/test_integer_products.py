import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import model, node, run, tensor
from rewriting import apply

KINDS = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


def agree(proto, feed):
    done = apply(proto, "integer_products")
    assert done.rules == ["integer_products"], done.reasons
    wanted, got = run(proto, feed)["y"], run(done.model, feed)["y"]
    assert wanted.dtype == got.dtype
    assert (wanted == got).all()
    assert apply(done.model, "integer_products").rules == []


def integers(random, kind, shape):
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max + 1, shape).astype(kind)


@given(st.sampled_from(["uint8", "int8"]), st.sampled_from([1, 7, 257, 258, 900, 4096]), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_matrix_products_are_exact(kind, terms, seed):
    random = np.random.default_rng(seed)
    weight = integers(random, "int8" if kind == "int8" else "uint8", (terms, 3))
    zeros = {"za": integers(random, kind, ()), "zb": integers(random, weight.dtype, ())}
    proto = model(
        [node("MatMulInteger", ["a", "b", "za", "zb"], ["y"], "product")],
        [tensor("a", ["n", terms], KINDS[kind])],
        [tensor("y", ["n", 3], TensorProto.INT32)],
        {"b": weight, **zeros},
    )
    agree(proto, {"a": integers(random, kind, (2, terms))})
    agree(proto, {"a": np.full((2, terms), np.iinfo(kind).max, kind)})


@given(st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_convolutions_are_exact(channels, seed):
    random = np.random.default_rng(seed)
    proto = model(
        [node("ConvInteger", ["a", "b", "za"], ["y"], "conv", pads=[1, 1, 1, 1], strides=[2, 1])],
        [tensor("a", ["n", channels, 7, 6], KINDS["uint8"])],
        [tensor("y", ["n", 4, None, None], TensorProto.INT32)],
        {"b": integers(random, "uint8", (4, channels, 3, 3)), "za": np.array(119, np.uint8)},
    )
    agree(proto, {"a": integers(random, "uint8", (2, channels, 7, 6))})


def quantised(op, random, kind="uint8"):
    scale = lambda: np.array(random.uniform(0.01, 0.1), np.float32)  # noqa: E731
    shapes = {"QLinearMatMul": (6, 3), "QLinearConv": (3, 2, 3, 3)}
    weights = {
        "b": integers(random, kind, shapes[op]), "sa": scale(), "za": np.array(3, kind), "sb": scale(),
        "zb": np.array(0, kind), "sy": np.array(random.uniform(0.5, 3), np.float32), "zy": np.array(7, kind),
    }  # fmt: skip
    names = ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"]
    if op == "QLinearConv":
        weights["bias"] = random.integers(-500, 500, 3).astype(np.int32)
        weights["sb"] = random.uniform(0.01, 0.1, 3).astype(np.float32)
        weights["zb"] = np.zeros(3, kind)
        names.append("bias")
    shape = ["n", 6] if op == "QLinearMatMul" else ["n", 2, 5, 5]
    return model(
        [node(op, names, ["y"], "product")], [tensor("a", shape, KINDS[kind])],
        [tensor("y", ["n", *[None] * (len(shape) - 1)], KINDS[kind])], weights,
    )  # fmt: skip


@pytest.mark.parametrize("op", ["QLinearMatMul", "QLinearConv"])
@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("seed", range(4))
def test_quantised_products_are_exact(op, kind, seed):
    random = np.random.default_rng(seed)
    shape = (2, 6) if op == "QLinearMatMul" else (2, 2, 5, 5)
    agree(quantised(op, random, kind), {"a": integers(random, kind, shape)})


def sums_of(terms, shape=None):
    """Odd products of large magnitude, so that a sum beyond 2^24 loses its last bit."""
    weight = np.full((terms, 2), 251, np.uint8)
    nodes = [
        node("Identity", ["c"], ["a"], "copy"),
        node("MatMulInteger", ["a", "b"], ["y"], "product"),
        node("Relu", ["x"], ["z"], "relu"),
    ]
    outputs = [tensor("y", [1, 2], TensorProto.INT32), ("z", ["n"])]
    return model(nodes, [("x", ["n"])], outputs, {"b": weight, "c": np.full((1, terms), 255, np.uint8)})


def of_unknown_rank():
    nodes = [
        node("Squeeze", ["a"], ["s"], "squeeze"),
        node("MatMulInteger", ["s", "b"], ["p"], "product"),
        node("ReduceMax", ["p"], ["y"], "top", keepdims=0),
    ]
    inputs = [tensor("a", ["n", "m", 3], KINDS["uint8"])]
    return model(nodes, inputs, [tensor("y", [], TensorProto.INT32)], {"b": np.ones((3, 2), np.uint8)})


def of_unknown_length():
    inputs = [tensor("a", ["n", "k"], KINDS["uint8"]), tensor("b", ["k", 2], KINDS["uint8"])]
    product = helper.make_node("MatMulInteger", ["a", "b"], ["y"], "product")
    return model([product], inputs, [tensor("y", ["n", 2], TensorProto.INT32)])


GUARDS = {
    "the rank is not known": of_unknown_rank,
    "how many products are added up is not known": of_unknown_length,
    "its sums go beyond what FP32 holds exactly": lambda: sums_of(5001),
}
