import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import cnn, mlp, model, node, tensor, weights
from onnx_text import parsed

from trtbuild.matrixops import matrix_nodes, multiply_accumulates, node_precisions


def only(proto):
    (found,) = matrix_nodes(proto)
    return found


def test_nodes_in_order_with_their_operands():
    found = matrix_nodes(cnn())
    assert [(n.name, n.op, n.activations, n.weight, n.channel_axis) for n in found] == [
        ("conv1", "Conv", ("x",), "k1", 0),
        ("conv2", "Conv", ("r1",), "k2", 0),
        ("head", "Gemm", ("f",), "w", 0),
    ]


@pytest.mark.parametrize(("transposed", "axis"), [(0, 1), (1, 0)])
def test_channel_axis_of_gemm_follows_trans_b(transposed, axis):
    nodes = [node("Gemm", ["x", "w"], ["y"], transB=transposed)]
    assert only(model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], {"w": weights((4, 4))})).channel_axis == axis


def test_channel_axis_of_conv_transpose_is_1():
    nodes = [node("ConvTranspose", ["x", "w"], ["y"])]
    proto = model(nodes, [("x", ["n", 2, 4, 4])], [("y", ["n", 3, 6, 6])], {"w": weights((2, 3, 3, 3))})
    assert only(proto).channel_axis == 1


def test_channel_axis_of_a_stack_of_matrices_is_the_last():
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    proto = model(nodes, [("x", ["n", 5, 2, 4])], [("y", ["n", 5, 2, 3])], {"w": weights((5, 4, 3))})
    assert only(proto).channel_axis == 2


def test_a_product_of_two_activations_has_no_weight():
    found = only(model([node("MatMul", ["a", "b"], ["y"])], [("a", [2, 3]), ("b", [3, 4])], [("y", [2, 4])]))
    assert (found.activations, found.weight, found.channel_axis) == (("a", "b"), None, None)


def test_an_operator_of_another_domain_is_no_matrix_node():
    proto = model([node("MatMul", ["x", "w"], ["y"])], [("x", [2, 4])], [("y", [2, 4])], {"w": weights((4, 4))})
    proto.graph.node[0].domain = "com.example"
    assert matrix_nodes(proto) == []


def test_weights_behind_dequantize_linear_are_weights():
    nodes = [node("DequantizeLinear", ["q", "s"], ["w"], axis=1), node("MatMul", ["x", "w"], ["y"])]
    proto = model(nodes, [("x", [2, 4])], [("y", [2, 3])], {"q": np.ones((4, 3), np.int8), "s": np.ones(3, np.float32)})
    assert (only(proto).weight, only(proto).channel_axis) == ("w", 1)


@pytest.mark.parametrize(
    ("op", "x", "w", "y", "attributes", "macs"),
    [
        ("MatMul", ["n", 4], (4, 6), ["n", 6], {}, 5 * 4 * 6),
        ("MatMul", ["n", 3, 4], (4, 6), ["n", 3, 6], {}, 5 * 3 * 4 * 6),
        ("Gemm", ["n", 4], (6, 4), ["n", 6], {"transB": 1}, 5 * 4 * 6),
        ("Gemm", [4, "n"], (4, 6), ["n", 6], {"transA": 1}, 5 * 4 * 6),
        ("Conv", ["n", 2, 8, 8], (3, 2, 3, 3), ["n", 3, 6, 6], {}, 5 * 3 * 6 * 6 * 2 * 9),
        ("Conv", ["n", 4, 8, 8], (4, 1, 3, 3), ["n", 4, 6, 6], {"group": 4}, 5 * 4 * 6 * 6 * 9),
        ("Conv", ["n", 2, 8, 8], (3, 2, 3, 3), ["n", 3, 3, 3], {"strides": [2, 2]}, 5 * 3 * 3 * 3 * 2 * 9),
        ("ConvTranspose", ["n", 2, 4, 4], (2, 3, 2, 2), ["n", 3, 8, 8], {"strides": [2, 2]}, 5 * 2 * 4 * 4 * 3 * 4),
    ],
)
def test_multiply_accumulates(op, x, w, y, attributes, macs):
    proto = model([node(op, ["x", "w"], ["y"], "it", **attributes)], [("x", x)], [("y", y)], {"w": weights(w)})
    assert multiply_accumulates(proto, {"n": 5}) == {"it": macs}


def test_shapes_go_through_a_reshape_that_is_computed():
    nodes = [
        node("Shape", ["x"], ["s"], end=1),
        node("Concat", ["s", "rest"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["r"]),
        node("MatMul", ["r", "w"], ["y"], "it"),
    ]
    parameters = {"rest": np.array([2, 4]), "w": weights((4, 3))}
    proto = model(nodes, [("x", ["n", 8])], [("y", ["n", 2, 3])], parameters)
    assert multiply_accumulates(proto, {"n": 5}) == {"it": 5 * 2 * 4 * 3}


def test_nodes_of_unknown_shape_are_left_out():
    assert multiply_accumulates(mlp(), {}) == {}
    assert multiply_accumulates(mlp(8), {"n": 2}) == {"fc1": 2 * 8 * 16, "fc2": 2 * 8 * 16}


def test_the_model_is_left_unchanged():
    proto = model(
        [node("MatMul", ["x", "w"], ["y"], "it")], [tensor("x", ["n", 64], TensorProto.FLOAT)], [("y", ["n", 64])],
        {"w": weights((64, 64))},
    )  # fmt: skip
    before = proto.SerializeToString(deterministic=True)
    multiply_accumulates(proto, {"n": 5})
    assert proto.SerializeToString(deterministic=True) == before


DEQUANTIZED = """
g (float[2,4] x, int8[4,3] stored) => (float[2,3] y)
<float s = {0.5}, int8 z = {0}>
{
    w = DequantizeLinear (q, s)
    BODY
}
"""


@pytest.mark.parametrize(
    ("kind", "body", "precision"),
    [
        ("int8", "[it] y = MatMul (x, w)", "int8_weights"),
        ("int4", "[it] y = MatMul (x, w)", "int4"),
        ("int8", "t = Cast <to = 1> (w) [it] y = MatMul (x, t)", "int8_weights"),
        ("int8", "t = Transpose (w) u = Transpose (t) [it] y = MatMul (x, u)", "int8_weights"),
        ("float8e4m3fn", "[it] y = MatMul (x, w)", "fp32"),
        ("int8", "a = QuantizeLinear (x, s, z) b = DequantizeLinear (a, s, z) [it] y = MatMul (b, w)", "int8"),
        ("int8", "a = QuantizeLinear (x, s, z) b = DequantizeLinear (a, s, z) c = Cast <to = 1> (b) [it] y = MatMul (c, w)", "int8"),
        ("int8", "v = DequantizeLinear (stored, s) [it] y = MatMul (x, v)", "fp32"),
    ],
)  # fmt: skip
def test_what_a_node_computes_in_is_read_from_what_is_behind_its_operands(kind, body, precision):
    proto = parsed(DEQUANTIZED.replace("BODY", body), opset=21)
    element = {"int8": TensorProto.INT8, "int4": TensorProto.INT4, "float8e4m3fn": TensorProto.FLOAT8E4M3FN}[kind]
    proto.graph.initializer.append(helper.make_tensor("q", element, [4, 3], [1] * 12))
    assert node_precisions(proto) == {"it": precision}
