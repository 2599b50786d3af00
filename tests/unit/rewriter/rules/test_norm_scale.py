import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import initializer, model, node, tensor, weights
from rewriting import apply, holds

OPSET = {"LayerNormalization": 17, "RMSNormalization": 23, "InstanceNormalization": 17, "GroupNormalization": 21}
OPTIONS = {
    "LayerNormalization": {"axis": -1},
    "RMSNormalization": {"axis": -1},
    "GroupNormalization": {"num_groups": 2},
}


def norm(
    op="LayerNormalization", shape=("n", 4, 6, 8), *steps, outputs=("y",), bias=True, opset=None, axis=None, given=()
):
    """A normalisation and Mul and Add steps, each with a constant of the size given."""
    last = "y" if not steps else "t0"
    options = {"axis": axis} if axis else OPTIONS.get(op, {})
    size = shape[axis or -1 :] if op in ("LayerNormalization", "RMSNormalization") else [4]
    parameters = {"scale": weights(size, 1), "bias": weights(size, 2)}
    bias = (bias or op not in ("LayerNormalization", "RMSNormalization")) and op != "RMSNormalization"
    reads = ["x", "scale", "bias"] if bias else ["x", "scale"]
    nodes = [node(op, reads, [last], "norm", **options)]
    for i, (kind, extent, swapped) in enumerate(steps):
        parameters[f"c{i}"] = weights(extent, i + 3)
        made = "y" if i == len(steps) - 1 else f"t{i + 1}"
        nodes.append(node(kind, [f"c{i}", last] if swapped else [last, f"c{i}"], [made], f"step{i}"))
        last = made
    used = {i for n in nodes for i in n.input}
    inputs = [("x", list(shape)), *(tensor(g, list(np.shape(parameters[g]))) for g in given)]
    kept = {k: v for k, v in parameters.items() if k in used and k not in given}
    return model(nodes, inputs, [(o, list(shape)) for o in outputs], kept, opset=opset or OPSET[op])


SIZES = {True: [(8,), (1,), (), (1, 1, 8), (1, 1, 1, 1)], False: [(4, 1, 1), (1, 4, 1, 1), (1,), ()]}


@settings(max_examples=30, deadline=None)
@given(op=st.sampled_from(sorted(OPSET)), bias=st.booleans(), data=st.data())
def test_property(op, bias, data):
    sizes = SIZES[op in ("LayerNormalization", "RMSNormalization")]
    kinds = ["Mul"] if op == "RMSNormalization" else ["Mul", "Add"]
    step = st.tuples(st.sampled_from(kinds), st.sampled_from(sizes), st.booleans())
    steps = data.draw(st.lists(step, min_size=1, max_size=3))
    outputs = data.draw(st.sampled_from([("y",), ("y", "t0")]))
    done = holds(norm(op, ("n", 4, 6, 8), *steps, bias=bias, outputs=outputs), "norm_scale")
    taken = len(steps) if outputs == ("y",) else 0
    assert len(done.rules) == taken
    assert len(done.ops) == 1 + len(steps) - taken


def test_a_scale_shared_with_another_normalisation_stays_for_that_one():
    proto = norm("LayerNormalization", ("n", 8), ("Mul", (8,), False))
    proto.graph.node.append(node("LayerNormalization", ["x", "scale", "bias"], ["z"], "other", axis=-1))
    proto.graph.output.append(tensor("z", ["n", 8]))
    done = holds(proto, "norm_scale")
    assert done.ops == ["LayerNormalization"] * 2
    assert (initializer(done.model, "scale") == weights(8, 1)).all()


def test_several_normalised_axes():
    proto = norm("LayerNormalization", ("n", 4, 6, 8), ("Mul", (6, 8), False), ("Add", (6, 1), True), axis=-2)
    assert holds(proto, "norm_scale").ops == ["LayerNormalization"]


def test_an_operator_without_a_bias_takes_none():
    proto = norm("RMSNormalization", ("n", 4, 6, 8), ("Add", (1,), False))
    assert holds(proto, "norm_scale").done.applied == ()


def test_a_scale_by_group_is_left_alone():
    proto = norm("GroupNormalization", ("n", 4, 6, 8), ("Add", (1,), False), opset=18)
    assert apply(proto, "norm_scale").done.applied == ()


GUARDS = {
    "another node reads the result before": lambda: norm(
        "LayerNormalization", ("n", 8), ("Mul", (8,), False), outputs=("y", "t0")
    ),
    "its scale is computed at run time": lambda: norm(
        "LayerNormalization", ("n", 8), ("Mul", (8,), False), given=("scale",)
    ),
    "the constant varies along another axis, or the shape is not known": lambda: norm(
        "LayerNormalization", (8, 8), ("Mul", (8, 1), False)
    ),
}
