import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import initializer, model, node, tensor, weights
from rewriting import holds

CHANNELS = 4  # out; 6 in


def conv(
    *steps, op="Conv", dims=2, group=1, bias=True, outputs=("y",), given=(), shape=None, constants=None, result=None
):
    """A convolution and Mul, Div, Add and Sub steps: (operator, size of the constant, whether it comes first)."""
    inputs = 6
    kernel = (3,) * dims
    size = (CHANNELS, inputs // group, *kernel) if op == "Conv" else (inputs, CHANNELS // group, *kernel)
    parameters = {"k": weights(size, 1, 0.2), "b": weights(CHANNELS, 2)}
    extent = 6 if op == "Conv" else 3
    shape = list(shape or ["n", inputs, *[extent] * dims])
    result = list(result or ["n", CHANNELS, *[extent - 2 if op == "Conv" else extent + 2] * dims])
    nodes = [node(op, ["x", "k", "b"] if bias else ["x", "k"], ["t0"], "conv", group=group)]
    for i, (kind, extents, first) in enumerate(steps):
        values = np.sign(weights(extents, i + 3)) * (np.abs(weights(extents, i + 3)) + 0.3)
        parameters[f"c{i}"] = (constants or {}).get(i, np.asarray(values, np.float32))
        made = "y" if i == len(steps) - 1 else f"t{i + 1}"
        nodes.append(node(kind, [f"c{i}", f"t{i}"] if first else [f"t{i}", f"c{i}"], [made], f"step{i}"))
    used = {i for n in nodes for i in n.input}
    graph_inputs = [("x", shape), *(tensor(g, list(parameters[g].shape)) for g in given)]
    kept = {k: v for k, v in parameters.items() if k in used and k not in given}
    return model(nodes, graph_inputs, [(o, result) for o in outputs], kept)


@settings(max_examples=40, deadline=None)
@given(
    op=st.sampled_from(["Conv", "ConvTranspose"]),
    dims=st.integers(1, 3),
    group=st.sampled_from([1, 2]),
    bias=st.booleans(),
    handed_out=st.booleans(),
    data=st.data(),
)
def test_property(op, dims, group, bias, handed_out, data):
    per_channel = (CHANNELS, *[1] * dims)
    sizes = st.sampled_from([per_channel, (1, *per_channel), (1,), (), (1,) * (dims + 2)])
    either = st.tuples(st.sampled_from(["Mul", "Add", "Sub"]), sizes, st.booleans())
    step = either | st.tuples(st.just("Div"), sizes, st.just(value=False))
    steps = data.draw(st.lists(step, min_size=1, max_size=3))
    done = holds(
        conv(*steps, op=op, dims=dims, group=group, bias=bias, outputs=("y", "t0") if handed_out else ("y",)),
        "conv_scale",
    )
    assert done.ops == ([op, *(kind for kind, _, _ in steps)] if handed_out else [op])


def test_a_constant_divided_by_the_result_is_left_alone():
    assert holds(conv(("Div", (CHANNELS, 1, 1), True)), "conv_scale").done.applied == ()


@pytest.mark.parametrize(
    "size", [(1, 1, 1, CHANNELS), (1, 1, CHANNELS, 1), (CHANNELS,), (CHANNELS, 1), (CHANNELS, 1, 1, 1)]
)
def test_a_constant_along_another_axis_of_the_same_size_is_left_alone(size):
    proto = conv(("Mul", size, False), shape=[CHANNELS, 6, 6, 6], result=[CHANNELS] * 4)
    done = holds(proto, "conv_scale")
    assert done.reasons == ["the constant varies along another axis, or the shape is not known"]


def test_a_constant_that_makes_the_result_larger_is_left_alone():
    proto = conv(("Mul", (3, 1, 1, 1), False), shape=[1, 6, 6, 6], result=[3, CHANNELS, 4, 4])
    assert holds(proto, "conv_scale").done.applied == ()
    proto = conv(("Add", (1, 1, 1, 1, 1), False), result=[1, "n", CHANNELS, 4, 4])
    assert holds(proto, "conv_scale").done.applied == ()


def test_a_kernel_shared_with_another_convolution_stays_for_that_one():
    proto = conv(("Mul", (CHANNELS, 1, 1), False))
    proto.graph.node.append(node("Conv", ["x", "k", "b"], ["z"], "other"))
    proto.graph.output.append(tensor("z", ["n", CHANNELS, 4, 4]))
    done = holds(proto, "conv_scale")
    assert done.ops == ["Conv", "Conv"]
    assert (initializer(done.model, "k") == initializer(proto, "k")).all()


def test_an_addend_leaves_the_kernel_as_it_is():
    done = holds(conv(("Add", (CHANNELS, 1, 1), False), bias=False), "conv_scale")
    assert done.model.graph.node[0].input[1] == "k"


def test_an_open_batch_of_as_many_as_channels():
    proto = conv(("Mul", (CHANNELS, 1, 1, 1), False), shape=["n", 6, 6, 6])
    assert holds(proto, "conv_scale", sizes=[{"n": CHANNELS}]).done.applied == ()


GUARDS = {
    "another node reads the convolution's result": lambda: conv(("Mul", (1,), False), outputs=("y", "t0")),
    "a weight is computed at run time": lambda: conv(("Mul", (1,), False), given=("k",)),
    "the constant varies along another axis, or the shape is not known": lambda: conv(
        ("Mul", (CHANNELS, 1, 1, 1), False), shape=[CHANNELS, 6, 6, 6], result=[CHANNELS] * 4
    ),
    "it divides by zero, or the weights would leave their type's range": lambda: conv(
        ("Div", (1,), False), constants={0: np.zeros(1, np.float32)}
    ),
}
