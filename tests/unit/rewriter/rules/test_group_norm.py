import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import model, node, tensor, weights
from rewriting import holds


def written(
    shape=("n", 6, 4, 5), groups=3, *, first=None, back="shape", affine=True, plain=True, opset=21, given=(), after=None,
    outputs=("y",), epsilon=1e-5, before=True,
):  # fmt: skip
    """GroupNorm as torch's exporters write it; ``back`` is where the second Reshape takes its shape from."""
    source = "r" if before else "x"
    after = after or shape
    spread = (shape[1] if isinstance(shape[1], int) else 1, *[1] * (len(shape) - 2))
    parameters = {
        "to": np.array(first or [0, groups, -1]),
        "s": np.ones(groups, np.float32) if plain else weights(groups, 1),
        "b": np.zeros(groups, np.float32) if plain else weights(groups, 2),
        "gamma": weights(spread, 3),
        "beta": weights(spread, 4),
        "back": np.array([d if isinstance(d, int) else -1 for d in after]),
    }
    nodes = [node("Relu", ["x"], ["r"])] if before else []
    nodes += [
        node("Reshape", [source, "to"], ["g"]),
        node("InstanceNormalization", ["g", "s", "b"], ["i"], "inorm", epsilon=epsilon),
    ]
    if back == "shape":
        nodes.append(node("Shape", [source], ["back"]))
    nodes.append(node("Reshape", ["i", "back"], ["z"], "last"))
    if affine:
        nodes += [node("Mul", ["z", "gamma"], ["m"]), node("Add", ["m", "beta"], ["a"])]
    nodes.append(node("Neg", ["a" if affine else "z"], ["y"]))
    used = {i for n in nodes for i in n.input} - {o for n in nodes for o in n.output}
    inputs = [("x", list(shape)), *(tensor(g, list(np.shape(parameters[g]))) for g in given)]
    results = [tensor(o, list(after) if o == "y" else ["n", groups, None]) for o in outputs]
    kept = {k: v for k, v in parameters.items() if k in used and k not in given}
    return model(nodes, inputs, results, kept, opset=opset)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.sampled_from([("n", 6, 4, 5), ("n", 6, "h", "w"), (2, 6, 8), ("n", 6, 2, 3, 4)]),
    groups=st.sampled_from([1, 2, 3, 6]),
    back=st.sampled_from(["shape", "constant"]),
    affine=st.booleans(),
    plain=st.booleans(),
    opset=st.sampled_from([21, 22, 23]),
    epsilon=st.sampled_from([1e-5, 1e-2]),
    outputs=st.sampled_from([("y",), ("y", "i")]),
    before=st.booleans(),
)
def test_property(shape, groups, back, affine, plain, opset, epsilon, outputs, before):
    if back == "constant" and "h" in shape:
        back = "shape"  # a constant cannot have two open sizes
    proto = written(
        shape,
        groups,
        back=back,
        affine=affine,
        plain=plain,
        opset=opset,
        epsilon=epsilon,
        outputs=outputs,
        before=before,
    )
    done = holds(proto, "group_norm", "norm_scale")
    assert "GroupNormalization" in done.ops
    assert {"Mul", "Add"}.isdisjoint(done.ops)


def test_a_shape_put_together_with_one_open_size_is_the_shape():
    proto = written(("n", 6, "h", "w"), affine=False)
    shape = next(n for n in proto.graph.node if n.op_type == "Shape")
    shape.attribute.append(node("S", [], ["o"], end=3).attribute[0])
    shape.output[0] = "most"
    proto.graph.initializer.append(model([], [], [], {"last_size": np.array([-1])}).graph.initializer[0])
    proto.graph.node.insert(4, node("Concat", ["most", "last_size"], ["back"], axis=0))
    assert "GroupNormalization" in holds(proto, "group_norm").ops


def test_an_unknown_number_of_channels_is_left_alone():
    proto = written(("n", "c", 4, 5), groups=2, affine=False)
    assert holds(proto, "group_norm", sizes=[{"n": 2, "c": 4}]).done.applied == ()


@pytest.mark.parametrize("first", [[-1, 3, 40], [0, 3, 40], [2, 3, -1]])
def test_a_batch_that_follows_from_the_other_sizes(first):
    proto = written((2 if first[0] == 2 else "n", 6, 4, 5), 3, first=first)
    assert "GroupNormalization" in holds(proto, "group_norm").ops


GUARDS = {
    "the first Reshape changes the batch": lambda: written((4, 6, 4, 5), 3, first=[2, 3, -1], affine=False),
    "a group ends inside a channel": lambda: written((2, 6, 4, 5), 4, affine=False),
    "the second Reshape does not bring the shape back": lambda: written(
        (2, 6, 4, 5), back="constant", affine=False, after=(2, 6, 5, 4)
    ),
    "its scale is computed at run time": lambda: written(given=("s",)),
    "GroupNormalization by channel came with opset 21": lambda: written(opset=18),
}
