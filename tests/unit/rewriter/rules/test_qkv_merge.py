import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import initializer, model, node, tensor, weights
from rewriting import apply, holds


def products(widths=(4, 4, 4), *, shape=("batch", "seq", 6), bias=True, outputs=(), extra=(), fixed=None):
    """x times a weight of each width, each with a bias and a Relu."""
    nodes, results, parameters = [], [], dict(fixed or {})
    for i, width in enumerate(widths):
        parameters[f"w{i}"] = weights((6, width), i)
        nodes.append(node("MatMul", ["x", f"w{i}"], [f"p{i}"], f"product{i}"))
        if bias:
            parameters[f"b{i}"] = weights((width,), 10 + i)
            nodes.append(node("Add", [f"p{i}", f"b{i}"], [f"a{i}"]))
        nodes.append(node("Relu", [f"a{i}" if bias else f"p{i}"], [f"y{i}"]))
        results.append((f"y{i}", [*shape[:-1], width]))
    more = [(o, [*shape[:-1], widths[int(o[1:])]]) for o in outputs]
    return model([*nodes, *extra], [("x", list(shape))], [*results, *more], parameters)


@settings(max_examples=30, deadline=None)
@given(
    widths=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    shape=st.sampled_from([("n", 6), ("batch", "seq", 6), ("batch", 2, "seq", 6), (3, 6)]),
    bias=st.booleans(),
    handed_out=st.booleans(),
)
def test_products_of_one_tensor_become_one(widths, shape, bias, handed_out):
    after = holds(products(widths, shape=shape, bias=bias, outputs=("p0",) if handed_out else ()), "qkv_merge")
    assert after.ops.count("MatMul") == 1
    assert after.ops.count("Split") == 1
    assert after.ops.count("Add") == (len(widths) if bias else 0)
    assert [e.covers for e in after.done.applied] == [tuple(f"product{i}" for i in range(1, len(widths)))]


def test_a_product_with_something_else_stays_apart():
    more = [
        node("MatMul", ["x", "cube"], ["z0"], "batched"),
        node("MatMul", ["left", "x"], ["z1"], "other_side"),
    ]
    fixed = {"cube": weights((2, 6, 3), 7), "left": weights((5, 4), 8)}
    proto = products((2, 3), shape=(2, 4, 6), extra=more, fixed=fixed)
    proto.graph.output.extend([tensor("z0", [2, 4, 3]), tensor("z1", [2, 5, 6])])
    after = holds(proto, "qkv_merge")
    assert after.ops.count("MatMul") == 3


def test_a_weight_that_is_read_elsewhere_is_not_copied():
    more = [node("MatMul", ["y0", "w0"], ["z"], "again")]
    proto = products((6, 4, 3), extra=more)
    proto.graph.output.append(tensor("z", ["batch", "seq", 6]))
    after = holds(proto, "qkv_merge")
    assert [e.covers for e in after.done.applied] == [("product2",)]
    assert (initializer(after.model, "w0") == weights((6, 6), 0)).all()


def test_declines_where_all_weights_are_read_elsewhere():
    more = [node("MatMul", ["y0", "w0"], ["z0"]), node("MatMul", ["y0", "w1"], ["z1"])]
    proto = products((6, 4), extra=more)
    proto.graph.output.extend([tensor("z0", ["batch", "seq", 6]), tensor("z1", ["batch", "seq", 4])])
    after = holds(proto, "qkv_merge")
    assert after.done.applied == ()
    assert after.reasons[0] == "another node reads the weights too: they would be there twice"


def test_products_inside_an_if_are_left_to_it():
    branches = {
        key: helper.make_graph([node("MatMul", ["x", w], [key], f"in_{key}")], key, [], [tensor(key, None)])
        for key, w in (("then_branch", "w0"), ("else_branch", "w1"))
    }
    nodes = [node("MatMul", ["x", "w2"], ["p"], "outside"), node("If", ["yes"], ["y"], "if", **branches)]
    parameters = {f"w{i}": weights((6, 4), i) for i in range(3)} | {"yes": np.array(True)}
    proto = model(nodes, [("x", ["n", 6])], [("y", ["n", 4]), ("p", ["n", 4])], parameters)
    assert holds(proto, "qkv_merge").done.applied == ()


def test_one_product_is_nothing_to_merge():
    assert apply(products((4,)), "qkv_merge").done == apply(products((4,))).done


GUARDS = {}
