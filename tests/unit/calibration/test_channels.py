"""Every free channel of a graph gets another factor; the outputs must not change, and what cannot is pinned."""

import numpy as np
import pytest
from onnx import numpy_helper
from onnx_models import model, node, random_feed, run, weights

from trtbuild.calibration.equalization.channels import ChannelMap, shapes_on
from trtbuild.calibration.equalization.layouts import axes_after


def mapped(proto):
    return ChannelMap(proto, shapes_on(proto, random_feed(proto)))


def free_roots(channels):
    found = set()
    for name, layout in channels.at.items():
        if len(layout.axes) == 1:
            free = channels.free(name, layout.axes[0])
            found |= set() if free is None else {r for r in free.tolist() if r >= 0}
    return sorted(found)


def scaled_alike(proto, least=1):
    """Scales all that is free; asserts that weights change and outputs do not."""
    channels = mapped(proto)
    roots = free_roots(channels)
    assert len(roots) >= least
    factors = dict(zip(roots, np.random.default_rng(5).uniform(0.2, 5, len(roots)).tolist(), strict=True))
    changed = channels.apply(factors)
    before = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    after = {t.name: numpy_helper.to_array(t) for t in changed.graph.initializer}
    assert any(k not in before or not np.array_equal(before[k], v) for k, v in after.items())
    for seed in (1, 2):
        feed = random_feed(proto, seed, n=3)
        want, got = run(proto, feed), run(changed, feed)
        for name, values in want.items():
            assert np.abs(values - got[name]).max() <= 2e-6 * max(np.abs(values).max(), 1), name
    return channels


def conv(x, w, y, bias=None, **attributes):
    return node("Conv", [x, w, *([bias] if bias else [])], [y], y, **attributes)


def image(nodes, constants, *, out=("y", ["n", 2, 4, 4])):
    return model(nodes, [("x", ["n", 2, 4, 4])], [out], constants)


K1, K2 = weights((4, 2, 1, 1), 1), weights((2, 4, 1, 1), 2)
BETWEEN = {
    "relu": ([node("Relu", ["a"], ["b"])], {}),
    "leaky relu": ([node("LeakyRelu", ["a"], ["b"], alpha=0.3)], {}),
    "clip at zero": ([node("Clip", ["a", "zero"], ["b"])], {"zero": np.float32(0)}),
    "prelu": ([node("PRelu", ["a", "p"], ["b"])], {"p": weights((4, 1, 1), 3)}),
    "pools": (
        [
            node("MaxPool", ["a"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("AveragePool", ["p"], ["b"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        ],
        {},
    ),
    "depthwise": ([conv("a", "d", "b", "db", group=4)], {"d": weights((4, 1, 1, 1), 4), "db": weights(4, 5)}),
    "grouped": ([conv("a", "d", "b", "db", group=2)], {"d": weights((4, 2, 1, 1), 4), "db": weights(4, 5)}),
    "transposed": ([node("ConvTranspose", ["a", "d", "db"], ["b"])], {"d": weights((4, 4, 1, 1), 4), "db": weights(4)}),
    "transposed in groups": (
        [node("ConvTranspose", ["a", "d", "db"], ["b"], group=2)],
        {"d": weights((4, 2, 1, 1), 4), "db": weights(4)},
    ),
    "batch norm": (
        [node("BatchNormalization", ["a", "s", "o", "m", "v"], ["b"])],
        {"s": weights(4), "o": weights(4, 1), "m": weights(4, 2), "v": np.abs(weights(4, 3)) + 0.5},
    ),
    "instance norm": ([node("InstanceNormalization", ["a", "s", "o"], ["b"])], {"s": weights(4), "o": weights(4, 1)}),
    "scalar product": ([node("Mul", ["c", "a"], ["b"])], {"c": np.float32(3)}),
    "channel quotient": ([node("Div", ["a", "c"], ["b"])], {"c": np.abs(weights((1, 4, 1, 1))) + 0.5}),
    "behind a sigmoid": (
        [node("Sigmoid", ["a"], ["g"]), node("Mul", ["g", "c"], ["b"])],
        {"c": np.float32(0.5)},
    ),
    "constant sum": ([node("Add", ["a", "c"], ["b"])], {"c": np.float32(3)}),
    "difference from a constant": ([node("Sub", ["c", "a"], ["b"])], {"c": weights((4, 1, 1))}),
    "residual": ([conv("a", "d", "e"), node("Add", ["a", "e"], ["b"])], {"d": weights((4, 4, 1, 1))}),
    "gate": ([conv("a", "d", "e"), node("Sigmoid", ["e"], ["g"]), node("Mul", ["a", "g"], ["b"])], {"d": weights((4, 4, 1, 1))}),
    "concat and split": (
        [
            node("Split", ["a", "sizes"], ["s1", "s2"], axis=1),
            node("Relu", ["s1"], ["r1"]),
            node("Concat", ["s2", "r1"], ["b"], axis=1),
        ],
        {"sizes": np.array([1, 3])},
    ),
    "concat beside what is pinned": (
        [
            node("Split", ["a", "sizes"], ["s1", "s2"], axis=1),
            node("Sigmoid", ["s1"], ["r1"]),
            node("Concat", ["s2", "r1"], ["b"], axis=1),
        ],
        {"sizes": np.array([1, 3])},
    ),
    "padding": (
        [node("Pad", ["a", "pads"], ["p"]), node("MaxPool", ["p"], ["b"], kernel_shape=[3, 3])],
        {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
    ),
    "resize": (
        [node("Resize", ["a", "", "scales"], ["p"], mode="linear"), node("AveragePool", ["p"], ["b"], kernel_shape=[2, 2], strides=[2, 2])],
        {"scales": np.array([1, 1, 2, 2], np.float32)},
    ),
    "shape is only looked at": ([node("Shape", ["a"], ["s"]), node("Reshape", ["a", "s"], ["b"])], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", BETWEEN)
def test_factors_go_through(name):
    between, constants = BETWEEN[name]
    proto = image(
        [conv("x", "k1", "a", "b1"), *between, conv("b", "k2", "y")],
        {"k1": K1, "b1": weights(4, 9), "k2": K2, **constants},
    )
    channels = scaled_alike(proto)
    assert channels.free("b", 1) is not None


def test_factors_go_through_attention():
    """V projection (merged with Q and K), heads, a product with the weights of attention, the output projection."""
    nodes = [
        node("MatMul", ["x", "qkv"], ["m"]),
        node("Split", ["m", "sizes"], ["q0", "k0", "v0"], axis=-1),
        *(node("Add", [f"{t}0", f"b{t}"], [f"{t}1"]) for t in "qkv"),
        *(node("Reshape", [f"{t}1", "heads"], [f"{t}2"]) for t in "qkv"),
        node("Transpose", ["q2"], ["q3"], perm=[0, 2, 1, 3]),
        node("Transpose", ["k2"], ["k3"], perm=[0, 2, 3, 1]),
        node("Transpose", ["v2"], ["v3"], perm=[0, 2, 1, 3]),
        node("MatMul", ["q3", "k3"], ["qk"]),
        node("Softmax", ["qk"], ["p"]),
        node("MatMul", ["p", "v3"], ["c0"]),
        node("Transpose", ["c0"], ["c1"], perm=[0, 2, 1, 3]),
        node("Reshape", ["c1", "whole"], ["c2"]),
        node("MatMul", ["c2", "out"], ["y"]),
    ]
    constants = {
        "qkv": weights((6, 18)), "sizes": np.array([6, 6, 6]), "out": weights((6, 6), 2),
        **{f"b{t}": weights(6, i) for i, t in enumerate("qkv")},
        "heads": np.array([0, 0, 2, 3]), "whole": np.array([0, 0, 6]),
    }  # fmt: skip
    channels = scaled_alike(model(nodes, [("x", ["n", 5, 6])], [("y", ["n", 5, 6])], constants), 6)
    assert (channels.free("c2", -1) >= 0).all()
    assert channels.free("q0", -1) is None


@pytest.mark.parametrize("op", ["LayerNormalization", "RMSNormalization"])
def test_a_normalisation_takes_factors_into_its_scale(op):
    inputs = ["x", "s", "o"][: 3 if op == "LayerNormalization" else 2]
    nodes = [node(op, inputs, ["h"]), node("MatMul", ["h", "w"], ["y"])]
    constants = {"s": weights(6), "o": weights(6, 1), "w": weights((6, 3))}
    proto = model(nodes, [("x", ["n", 6])], [("y", ["n", 3])], constants, opset=23, ir=11)
    scaled_alike(proto, 6)


@pytest.mark.parametrize("second", [{}, {"transB": 1}, {"alpha": 2.0, "beta": 3.0}])
@pytest.mark.parametrize("bias", [(), (1,), (1, 8), (3, 8)])
def test_gemm_with_its_attributes(second, bias):
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"], "fc1", **second),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "w2"], ["y"], "fc2", **second),
    ]
    flipped = "transB" in second
    constants = {
        "w1": weights((8, 4) if flipped else (4, 8)),
        "b1": weights(bias, 1),
        "w2": weights((2, 8) if flipped else (8, 2), 2),
    }
    scaled_alike(model(nodes, [("x", [3, 4])], [("y", [3, 2])], constants), 8)


def test_a_constant_that_others_read_is_copied():
    """Both Mul read one scalar; each gets factors of its own."""
    nodes = [
        conv("x", "k1", "a"),
        node("Mul", ["a", "c"], ["b"]),
        conv("b", "k2", "d"),
        node("Mul", ["d", "c"], ["e"]),
        conv("e", "k3", "y"),
    ]
    proto = image(nodes, {"k1": K1, "k2": K2, "k3": weights((2, 2, 1, 1)), "c": np.float32(0.5)})
    scaled_alike(proto, 12)


PINNED = {
    "GELU between": ([node("Gelu", ["a"], ["b"])], {}, "Gelu reads it"),
    "clip at six": ([node("Clip", ["a", "zero", "six"], ["b"])], {"zero": np.float32(0), "six": np.float32(6)}, "limit"),
    "product with itself": ([node("Mul", ["a", "a"], ["b"])], {}, "with itself"),
    "sum with what is not scaled": ([node("Sigmoid", ["a"], ["g"]), node("Add", ["a", "g"], ["b"])], {}, "Sigmoid reads it"),
    "reversed channels": (
        [node("Slice", ["a", "start", "end", "axis", "step"], ["b"])],
        {"start": np.array([-1]), "end": np.array([-9]), "axis": np.array([1]), "step": np.array([-1])},
        "Slice takes some",
    ),
    "channels pushed on": ([node("Pad", ["a", "pads"], ["b"])], {"pads": np.array([0, 1, 0, 0, 0, -1, 0, 0])}, "Pad moves"),
    "padded with ones": (
        [node("Pad", ["a", "pads", "one"], ["p"]), node("MaxPool", ["p"], ["b"], kernel_shape=[3, 3])],
        {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "one": np.float32(1)},
        "Pad fills",
    ),
    "resized across channels": (
        [node("Resize", ["a", "", "scales"], ["b"], mode="linear")],
        {"scales": np.array([1, 1.2, 1, 1], np.float32)},
        "Resize mixes",
    ),
    "transposed away": ([node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3])], {}, "another axis"),
    "mixed by a reshape": ([node("Reshape", ["a", "s"], ["b"])], {"s": np.array([0, 2, 8, 4])}, "mixes"),
    "another operator": ([node("Softmax", ["a"], ["b"], axis=1)], {}, "Softmax reads it"),
}  # fmt: skip


@pytest.mark.parametrize("name", PINNED)
def test_what_cannot_be_scaled_is_pinned(name):
    between, constants, reason = PINNED[name]
    shape = (2, 2, 1, 1) if name == "mixed by a reshape" else (2, 4, 1, 1)
    nodes = [conv("x", "k1", "a"), *between, conv("b", "k2", "y")]
    out = ("y", None) if name == "mixed by a reshape" else ("y", ["n", 2, 4, 4])
    proto = model(nodes, [("x", ["n", 2, 4, 4])], [out], {"k1": K1, "k2": weights(shape), **constants}, opset=20)
    channels = mapped(proto)
    assert channels.free("a", 1) is None
    assert reason in channels.why_not("a")


def test_an_output_of_the_model_is_pinned():
    proto = image([conv("x", "k1", "a"), conv("a", "k2", "y")], {"k1": K1, "k2": K2})
    proto.graph.output.append(model([], [], [("a", ["n", 4, 4, 4])]).graph.output[0])
    assert mapped(proto).why_not("a") == "it is an output of the model"


def test_another_reader_of_the_tensor_pins_it():
    nodes = [
        conv("x", "k1", "a"),
        conv("a", "k2", "b"),
        node("Exp", ["a"], ["e"]),
        conv("e", "k3", "f"),
        node("Add", ["b", "f"], ["y"]),
    ]
    proto = image(nodes, {"k1": K1, "k2": K2, "k3": weights((2, 4, 1, 1), 7)})
    assert mapped(proto).why_not("a") == "Exp reads it"


def test_a_weight_that_two_nodes_read_pins_what_they_read():
    nodes = [
        conv("x", "k1", "a"),
        conv("a", "k2", "b"),
        conv("x", "k3", "c"),
        conv("c", "k2", "d"),
        node("Add", ["b", "d"], ["y"]),
    ]
    proto = image(nodes, {"k1": K1, "k2": K2, "k3": weights((4, 2, 1, 1), 8)})
    assert "shared" in mapped(proto).why_not("a")


def test_gemm_that_transposes_its_activation_pins_it():
    nodes = [node("Gemm", ["x", "w"], ["h"], "fc1"), node("Gemm", ["h", "w2"], ["y"], "fc2", transA=1)]
    proto = model(nodes, [("x", [4, 4])], [("y", [4, 4])], {"w": weights((4, 4)), "w2": weights((4, 4), 1)})
    assert mapped(proto).why_not("h") == "Gemm transposes it"


@pytest.mark.parametrize(
    ("before", "axes", "after", "expected"),
    [
        ((2, 5, 6), (2,), (2, 5, 2, 3), (2, 3)),
        ((2, 5, 2, 3), (2, 3), (2, 5, 6), (2,)),
        ((2, 5, 2, 3), (2, 3), (10, 6), (1,)),
        ((2, 6, 1, 1), (1,), (2, 6), (1,)),
        ((2, 6, 4), (1,), (2, 24), None),
        ((2, 3, 4), (2,), (2, 4, 3), None),
        ((2, 4, 5, 6), (1, 3), (2, 4, 30), None),
    ],
)
def test_axes_after_a_reshape(before, axes, after, expected):
    assert axes_after(before, axes, after) == expected


def test_one_constant_in_several_inputs_of_a_node_becomes_one_for_each():
    between = [node("BatchNormalization", ["a", "s", "s", "s", "v"], ["b"])]
    constants = {"k1": K1, "k2": K2, "s": weights(4, 3), "v": np.abs(weights(4, 4)) + 0.5}
    scaled_alike(image([conv("x", "k1", "a"), *between, conv("b", "k2", "y")], constants), 8)
