from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_models import (
    branching,
    cnn,
    initializer,
    matmul,
    mlp,
    model,
    node,
    ops,
    random_feed,
    run,
    save,
    tensor,
    weights,
)

from trtbuild.calibration import calibrate
from trtbuild.errors import IntegrityError, UsageError
from trtbuild.matrixops import matrix_nodes, node_precisions
from trtbuild.precision import assign_precision
from trtbuild.quantization import place, write_qdq


@dataclass
class Quantized:
    model: onnx.ModelProto
    kept: dict


def quantize(proto, amax=2.0, **options):
    placement = place(proto)
    names = [t for n in matrix_nodes(proto) for t in n.activations]
    return Quantized(write_qdq(proto, placement, dict.fromkeys(names, amax), **options), placement.kept)


def quantized(proto, amax=2.0, **options):
    done = quantize(proto, amax, **options)
    onnx.checker.check_model(done.model, full_check=True)
    return done


def producer(proto, name):
    return next(n for n in proto.graph.node if name in n.output)


@pytest.mark.parametrize("make", [matmul, mlp, cnn, branching])
def test_results_stay_near_fp32(make):
    proto = make()
    feed = random_feed(proto, n=8)
    after = quantize(proto, amax=6.0).model
    left, right = run(proto, feed)["y"], run(after, feed)["y"]
    cosine = float((left * right).sum() / np.linalg.norm(left) / np.linalg.norm(right))
    assert cosine > 0.99
    assert (left != right).any()


def test_the_model_is_left_unchanged():
    proto = cnn()
    quantize(proto)
    assert proto == cnn()


def test_an_activation_goes_through_one_symmetric_pair():
    after = quantized(matmul(), amax=12.7).model
    matrix = next(n for n in after.graph.node if n.op_type == "MatMul")
    dequantize = producer(after, matrix.input[0])
    quantize_node = producer(after, dequantize.input[0])
    assert (quantize_node.op_type, dequantize.op_type) == ("QuantizeLinear", "DequantizeLinear")
    assert quantize_node.input[0] == "x"
    assert quantize_node.input[1:] == dequantize.input[1:]
    assert initializer(after, quantize_node.input[1]) == np.float32(0.1)
    zero = initializer(after, quantize_node.input[2])
    assert (zero.dtype, zero.shape, zero) == (np.int8, (), 0)


@pytest.mark.parametrize(
    ("op", "shape", "axis", "attributes", "x", "y"),
    [
        ("MatMul", (4, 6), 1, {}, ["n", 4], ["n", 6]),
        ("Gemm", (4, 6), 1, {}, ["n", 4], ["n", 6]),
        ("Gemm", (6, 4), 0, {"transB": 1}, ["n", 4], ["n", 6]),
        ("Conv", (6, 4, 3, 3), 0, {}, ["n", 4, 5, 5], ["n", 6, 3, 3]),
        ("Conv", (4, 1, 3, 3), 0, {"group": 4}, ["n", 4, 5, 5], ["n", 4, 3, 3]),
        ("ConvTranspose", (4, 6, 3, 3), 1, {}, ["n", 4, 5, 5], ["n", 6, 7, 7]),
        ("ConvTranspose", (4, 3, 3, 3), 1, {"group": 2}, ["n", 4, 5, 5], ["n", 6, 7, 7]),
    ],
)  # fmt: skip
def test_weights_are_int8_per_output_channel(op, shape, axis, attributes, x, y):
    w = weights(shape, 3) * np.linspace(0.1, 9, shape[axis], dtype=np.float32).reshape(
        [-1 if i == axis else 1 for i in range(len(shape))]
    )
    proto = model([node(op, ["x", "w"], ["y"], "it", **attributes)], [("x", x)], [("y", y)], {"w": w})
    after = quantized(proto).model
    matrix = next(n for n in after.graph.node if n.name == "it")
    dequantize = producer(after, matrix.input[1])
    assert [a.i for a in dequantize.attribute if a.name == "axis"] == [axis]
    integers, scale, zero = (initializer(after, name) for name in dequantize.input)
    assert (integers.dtype, zero.dtype) == (np.int8, np.int8)
    assert scale.shape == zero.shape == (shape[axis],)
    others = tuple(i for i in range(len(shape)) if i != axis)
    assert np.allclose(scale * 127, np.abs(w).max(axis=others), rtol=1e-6)
    along = scale.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    assert (np.abs(integers * along - w) <= along * 0.5001).all()
    assert np.abs(integers).max(axis=others).tolist() == [127] * shape[axis]
    assert "w" not in {t.name for t in after.graph.initializer}


def test_a_stack_of_matrices_has_one_scale():
    proto = model(
        [node("MatMul", ["x", "w"], ["y"])], [("x", ["n", 3, 2, 4])], [("y", ["n", 3, 2, 5])], {"w": weights((3, 4, 5))}
    )
    after = quantized(proto).model
    dequantize = producer(after, after.graph.node[-1].input[1])
    assert initializer(after, dequantize.input[1]).shape == ()
    assert not dequantize.attribute


@pytest.mark.parametrize("smallest", [0.0, 1e-42])
def test_a_channel_of_zeros_or_next_to_it_stays_finite(smallest):
    w = weights((4, 3))
    w[:, 1] = smallest
    proto = model([node("MatMul", ["x", "w"], ["y"])], [("x", ["n", 4])], [("y", ["n", 3])], {"w": w})
    after = quantized(proto).model
    y = run(after, random_feed(proto))["y"]
    assert np.isfinite(y).all()
    assert (y[:, 1] == 0).all()


def test_an_activation_next_to_zero_stays_finite():
    proto = matmul()
    after = quantized(proto, amax=1e-44).model
    assert np.isfinite(run(after, {"x": np.full((1, 4), 1e-44, np.float32)})["y"]).all()


def test_one_pair_serves_all_quantised_readers_and_the_others_keep_the_float_tensor():
    nodes = [
        node("MatMul", ["x", "w1"], ["a"], "one"),
        node("MatMul", ["x", "w2"], ["b"], "two"),
        node("Neg", ["x"], ["c"], "neg"),
        node("Sum", ["a", "b", "c"], ["y"], "sum"),
    ]
    parameters = {"w1": weights((4, 4), 1), "w2": weights((4, 4), 2)}
    after = quantized(model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], parameters)).model
    assert ops(after).count("QuantizeLinear") == 1
    reads = {n.name: list(n.input) for n in after.graph.node}
    assert reads["one"][0] == reads["two"][0] != "x"
    assert reads["neg"] == ["x"]


def test_a_weight_of_two_nodes_is_stored_once():
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "one"), node("Relu", ["a"], ["r"]), node("MatMul", ["r", "w"], ["y"], "two"),
    ]  # fmt: skip
    after = quantized(model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], {"w": weights((4, 4))})).model
    assert sum(t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 2 for t in after.graph.initializer) == 1
    assert ops(after).count("DequantizeLinear") == 3


def test_a_weight_of_two_nodes_along_other_axes_is_stored_for_both():
    nodes = [node("Gemm", ["x", "w"], ["a"], "one"), node("Gemm", ["a", "w"], ["y"], "two", transB=1)]
    proto = model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], {"w": weights((4, 4))})
    after = quantized(proto, amax=8).model
    axes = [a.i for n in after.graph.node for a in n.attribute if n.op_type == "DequantizeLinear"]
    assert sorted(axes) == [0, 1]
    feed = random_feed(proto)
    assert np.abs(run(proto, feed)["y"] - run(after, feed)["y"]).max() < 0.5


def test_a_weight_that_something_else_reads_too_stays():
    nodes = [node("MatMul", ["x", "w"], ["a"], "one"), node("Add", ["a", "w"], ["y"], "add")]
    after = quantized(model(nodes, [("x", [4, 4])], [("y", [4, 4])], {"w": weights((4, 4))})).model
    assert next(n for n in after.graph.node if n.name == "add").input[1] == "w"
    assert (initializer(after, "w") == weights((4, 4))).all()


def test_biases_stay_in_float():
    after = quantized(mlp()).model
    assert initializer(after, "b1").dtype == np.float32
    assert next(n for n in after.graph.node if n.name == "fc1").input[2] == "b1"


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ("x", "z", "a product of two activations"),
        ("x", "x", "a product of two activations"),
        ("w", "x", "its activation is the second operand"),
        ("w", "w", "a product of two weights"),
    ],
)
def test_what_stays_in_float_has_its_reason(a, b, reason):
    nodes = [node("MatMul", [a, b], ["p"], "it"), node("Add", ["p", "x"], ["y"]), node("Neg", ["z"], ["v"])]
    proto = model(nodes, [("x", [4, 4]), ("z", [4, 4])], [("y", [4, 4]), ("v", [4, 4])], {"w": weights((4, 4))})
    done = quantized(proto)
    assert (node_precisions(done.model), done.kept) == ({"it": "fp32"}, {"it": reason})
    assert "QuantizeLinear" not in ops(done.model)


def test_a_model_that_is_quantised_already_is_left_as_it_is():
    once = quantized(mlp())
    twice = quantized(once.model)
    assert node_precisions(twice.model) == node_precisions(once.model) == {"fc1": "int8", "fc2": "int8"}
    assert ops(twice.model) == ops(once.model)


def test_a_tensor_without_a_range_is_an_error():
    with pytest.raises(IntegrityError, match="no range for 'x'"):
        write_qdq(matmul(), place(matmul()), {})


def assigned(proto, tmp_path, precision="int8"):
    path = save(proto, tmp_path / "m.onnx")
    ranges = calibrate(path, [random_feed(proto)]) if precision == "int8" else None
    return assign_precision(path, tmp_path, precision=precision, table=ranges)


def test_assign_precision_writes_a_typed_model(tmp_path):
    done = assigned(mlp(), tmp_path)
    assert done.assignment == {"fc1": "int8", "fc2": "int8"}
    assert done.model.path == tmp_path / "typed.onnx"
    assert [t.shape for t in (*done.inputs, *done.outputs)] == [("n", 8)] * 2


def test_assign_precision_is_deterministic(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert assigned(cnn(), tmp_path / "a").model.sha256 == assigned(cnn(), tmp_path / "b").model.sha256


@pytest.mark.parametrize(
    ("precision", "names"), [("fp16", [""] * 4), ("int8", [""] * 4), ("fp16", ["same"] * 4), ("fp32", [""] * 4)]
)
def test_nodes_without_a_name_of_their_own_are_told_apart(tmp_path, precision, names):
    proto = mlp()
    for n, name in zip(proto.graph.node, names, strict=True):
        n.name = name
    done = assigned(proto, tmp_path, precision)
    assert list(done.assignment.values()) == [precision] * 2
    after = onnx.load(str(done.model.path))
    assert set(done.assignment) == {n.name for n in after.graph.node if n.op_type == "Gemm"}
    assert ops(after).count("Relu") == 1


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_weights_listed_among_the_inputs_do_not_become_inputs(tmp_path, precision):
    proto = mlp()
    proto.graph.input.extend([tensor("w1", [8, 16]), tensor("b1", [16])])
    assert [t.name for t in assigned(proto, tmp_path, precision).inputs] == ["x"]


def test_int8_needs_a_table_of_this_very_graph(tmp_path):
    path = save(mlp(), tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="needs a calibration table"):
        assign_precision(path, tmp_path, precision="int8")
    other = calibrate(save(matmul(8), tmp_path / "other.onnx"), [random_feed(matmul(8))])
    with pytest.raises(IntegrityError, match="belongs to graph"):
        assign_precision(path, tmp_path, precision="int8", table=other)


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_fp32_and_tf32_leave_the_graph_as_it_is(tmp_path, precision):
    done = assigned(mlp(), tmp_path, precision)
    assert done.model.sha256 == assigned(mlp(), tmp_path, "fp32").model.sha256
    assert set(done.assignment.values()) == {"fp32"}
    after = onnx.load(str(done.model.path))
    assert [numpy_helper.to_array(t).tolist() for t in after.graph.initializer] == [
        numpy_helper.to_array(t).tolist() for t in mlp().graph.initializer
    ]
