"""BF16, and what neither of the two can count."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_models import model, node, run, save, tensor, weights

from trtbuild.emulation import emulate
from trtbuild.precision import assign_precision
from trtbuild.precision.lowering.lower import lower

both = pytest.mark.parametrize("precision", ["fp16", "bf16"])


def error(proto, done, feed):
    onnx.checker.check_model(done.model, full_check=True)
    return np.abs(run(proto, feed)["y"] - run(emulate(done.model), feed)["y"]).max()


def rotary(start):
    """cos(position x frequency) for integer positions, then used in a product as rotary embeddings are."""
    nodes = [
        node("Cast", ["p"], ["f"], "cast", to=TensorProto.FLOAT),
        node("Unsqueeze", ["f", "axis"], ["u"], "column"),
        node("MatMul", ["u", "frequency"], ["angle"], "angle"),
        node("Cos", ["angle"], ["cosine"], "cos"),
        node("Mul", ["x", "cosine"], ["y"], "rotate"),
    ]
    frequency = (10000.0 ** -np.linspace(0, 1, 4, endpoint=False, dtype=np.float32)).reshape(1, 4)
    inputs = [tensor("p", ["n"], TensorProto.INT64), ("x", ["n", 4])]
    proto = model(nodes, inputs, [("y", ["n", 4])], {"frequency": frequency, "axis": np.array([1])})
    return proto, {"p": np.arange(start, start + 50), "x": np.ones((50, 4), np.float32)}


@both
def test_positions_stay_in_fp32_until_their_sine(precision):
    proto, feed = rotary(3000)
    done = lower(proto, precision)
    assert set(done.kept) == {"cast", "column", "angle", "cos"}
    assert error(proto, done, feed) < {"fp16": 1e-3, "bf16": 8e-3}[precision]


def test_a_product_of_positions_is_no_broken_promise(tmp_path):
    proto, _feed = rotary(0)
    typed = assign_precision(save(proto, tmp_path / "m.onnx"), tmp_path, precision="fp16")
    assert typed.assignment == {"angle": "fp32"}
    assert "positions" in typed.kept["angle"]


@both
def test_a_sine_of_activations_is_computed_in_fp32(precision):
    proto = model([node("Sin", ["x"], ["y"], "sin")], [("x", ["n", 4])], [("y", ["n", 4])])
    assert set(lower(proto, precision).kept) == {"sin"}


def test_buckets_of_positions_are_the_same():
    """T5 takes the logarithm of a distance and rounds it down: another last bit is another bucket."""
    nodes = [
        node("Cast", ["p"], ["f"], "cast", to=TensorProto.FLOAT),
        node("Div", ["f", "sixteen"], ["d"], "div"),
        node("Log", ["d"], ["l"], "log"),
        node("Mul", ["l", "scale"], ["s"], "scale"),
        node("Cast", ["s"], ["bucket"], "floor", to=TensorProto.INT64),
        node("Gather", ["table", "bucket"], ["y"], "bias"),
    ]
    table = np.arange(16, dtype=np.float32)
    constants = {"sixteen": np.float32(16), "scale": np.float32(8 / np.log(8)), "table": table}
    proto = model(nodes, [tensor("p", ["n"], TensorProto.INT64)], [("y", ["n"])], constants)
    done = lower(proto, "bf16")
    assert set(done.kept) == {"cast", "div", "log", "scale"}
    assert error(proto, done, {"p": np.arange(16, 256)}) == 0


def test_positions_that_bf16_cannot_count_stay_in_fp32():
    nodes = [node("Cast", ["p"], ["f"], "cast", to=TensorProto.FLOAT), node("Sub", ["f", "c"], ["y"], "offset")]
    proto = model(nodes, [tensor("p", ["n"], TensorProto.INT64)], [("y", ["n"])], {"c": np.float32(255)})
    feed = {"p": np.arange(250, 300)}
    assert error(proto, lower(proto, "bf16"), feed) > 0.5
    done = lower(proto, "bf16", ranges={"f": (250.0, 299.0)})
    assert set(done.kept) == {"cast", "offset"}
    assert "BF16 holds those to 256" in done.kept["cast"]
    assert error(proto, done, feed) == 0


@both
def test_a_mask_of_integers_is_lowered(precision):
    nodes = [node("Cast", ["m"], ["f"], "cast", to=TensorProto.FLOAT), node("Mul", ["x", "f"], ["y"], "mul")]
    proto = model(nodes, [tensor("m", ["n", 4], TensorProto.INT64), ("x", ["n", 4])], [("y", ["n", 4])])
    assert lower(proto, precision).kept == {}


def test_a_grid_of_coordinates_is_read_in_fp32_where_the_lower_type_is_bf16():
    proto = model(
        [node("GridSample", ["x", "g"], ["y"], "sample", mode="linear", align_corners=1)],
        [("x", ["n", 1, 1, 2048]), ("g", ["n", 1, 8, 2])],
        [("y", ["n", 1, 1, 8])],
        opset=22,
    )
    grid = np.zeros((1, 1, 8, 2), np.float32)
    grid[..., 0] = np.linspace(-0.9013, 0.9377, 8)
    feed = {"x": np.linspace(0, 2047, 2048, dtype=np.float32).reshape(1, 1, 1, 2048), "g": grid}
    done = lower(proto, "bf16")
    assert set(done.kept) == {"sample"}
    assert error(proto, done, feed) < 1e-2


def test_ties_of_bf16_are_named():
    nodes = [node("MatMul", ["x", "w"], ["a"], "matmul"), node("ArgMax", ["a"], ["y"], "best", axis=-1, keepdims=0)]
    proto = model(nodes, [("x", ["n", 4])], [tensor("y", ["n"], TensorProto.INT64)], {"w": weights((4, 4))}, opset=20)
    assert lower(proto, "fp16").notes == ()
    assert lower(proto, "bf16").notes == (
        "best: ArgMax reads BF16, where numbers within 1 in 256 are equal and the first one wins",
    )


def test_bf16_has_no_need_of_fp16s_guards_and_ranges():
    nodes = [node("Abs", ["x"], ["a"]), node("Add", ["a", "eps"], ["d"]), node("Div", ["x", "d"], ["y"])]
    proto = model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], {"eps": np.float32(1e-12)})
    assert lower(proto, "bf16", ranges={"a": (0.0, 1e6)}).kept == {}
    feed = {"x": np.array([[0, 1e6, -1, 3]], np.float32)}
    assert error(proto, lower(proto, "bf16"), feed) < 1e-2


def test_a_constant_node_is_lowered_as_the_weight_it_is():
    value = onnx.numpy_helper.from_array(np.full(4, 1e9, np.float32))
    nodes = [node("Constant", [], ["c"], "constant", value=value), node("Min", ["x", "c"], ["y"], "min")]
    done = lower(model(nodes, [("x", ["n", 4])], [("y", ["n", 4])]), "fp16")
    assert done.clamped == ("c",)
    assert [t.name for t in done.model.graph.initializer] == ["c/fp16"]


def test_a_model_as_old_as_to_list_its_weights_as_inputs():
    value = onnx.numpy_helper.from_array(np.full(4, 2, np.float32))
    nodes = [node("Constant", [], ["c"], "constant", value=value), node("Mul", ["x", "c"], ["y"], "mul")]
    done = lower(model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], ir=3), "fp16")
    onnx.checker.check_model(done.model, full_check=True)


def test_sequences_stay_in_fp32():
    nodes = [
        node("Relu", ["x"], ["a"], "relu"),
        node("SequenceConstruct", ["a", "x"], ["s"], "construct"),
        node("SequenceAt", ["s", "first"], ["b"], "at"),
        node("Neg", ["b"], ["y"], "neg"),
    ]
    proto = model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], {"first": np.array(0)})
    done = lower(proto, "fp16")
    onnx.checker.check_model(done.model, full_check=True)
    feed = {"x": weights((2, 4))}
    assert error(proto, done, feed) < 1e-3
