import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_models import branching, cnn, initializer, matmul, mlp, model, node, random_feed, run, tensor

from trtbuild.emulation import emulate, uses_low_precision
from trtbuild.precision.lowering.lower import lower

TYPES = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}


def rounded(values, precision):
    return np.asarray(values, np.float32).astype(TYPES[precision]).astype(np.float32)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_every_result_is_rounded_to_its_type(precision):
    proto = matmul(16, 16)
    feed = random_feed(proto)
    w = rounded(initializer(proto, "w"), precision)
    expected = np.maximum(rounded(rounded(feed["x"], precision) @ w, precision), 0)
    got = run(emulate(lower(proto, precision).model), feed)["y"]
    assert got.dtype == np.float32
    step = {"fp16": 2.0**-10, "bf16": 2.0**-7}[precision]  # the order of a sum may move a result to the next number
    assert np.abs(got - expected).max() <= step * np.abs(expected).max()
    assert (rounded(got, precision) == got).all()
    assert (got != run(proto, feed)["y"]).any()


def test_overflow_shows_as_infinity_in_fp16_and_not_in_bf16():
    proto = model([node("Add", ["x", "x"], ["a"]), node("Sub", ["a", "x"], ["y"])], [("x", ["n"])], [("y", ["n"])])
    feed = {"x": np.array([40000, 1], np.float32)}
    assert run(emulate(lower(proto, "fp16").model), feed)["y"].tolist() == [np.inf, 1]
    assert np.isfinite(run(emulate(lower(proto, "bf16").model), feed)["y"]).all()


@pytest.mark.parametrize("make", [mlp, cnn, branching])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_results_stay_near_fp32(make, precision):
    proto = make()
    feed = random_feed(proto)
    before, after = run(proto, feed)["y"], run(emulate(lower(proto, precision).model), feed)["y"]
    assert np.abs(before - after).max() < {"fp16": 5e-3, "bf16": 5e-2}[precision] * max(1, np.abs(before).max())


def test_which_models_need_it():
    assert not uses_low_precision(mlp())
    assert uses_low_precision(lower(mlp(), "fp16").model)


def test_the_model_is_left_unchanged():
    proto = lower(cnn(), "fp16").model
    before = proto.SerializeToString(deterministic=True)
    emulate(proto)
    assert proto.SerializeToString(deterministic=True) == before


def test_a_mean_can_overflow_in_its_sum_when_asked():
    proto = model([node("ReduceMean", ["x"], ["y"], axes=[-1], keepdims=0)], [("x", ["n", 4096])], [("y", ["n"])])
    typed, feed = lower(proto, "fp16").model, {"x": np.array([[100], [7]], np.float32).repeat(4096, 1)}
    assert run(emulate(typed), feed)["y"].tolist() == [100, 7]
    assert run(emulate(typed, low_sums=True), feed)["y"].tolist() == [np.inf, 7]


def test_a_pool_over_the_whole_plane_is_a_mean_too():
    shape = ["n", 2, 64, 64]
    proto = model([node("GlobalAveragePool", ["x"], ["y"])], [("x", shape)], [("y", ["n", 2, 1, 1])])
    typed, feed = lower(proto, "fp16").model, {"x": np.ones((1, 2, 64, 64), np.float32) * [[[[3]], [[30]]]]}
    feed = {k: v.astype(np.float32) for k, v in feed.items()}
    assert run(emulate(typed, low_sums=True), feed)["y"].ravel().tolist() == [3, np.inf]


@pytest.mark.parametrize("opset", [19, 21, 23])
def test_a_dequantised_tensor_of_the_lower_type_is_rounded(opset):
    """Scales in FP16, or the result's type by attribute, as other tools write them."""
    scale = np.float32(0.3) if opset == 23 else np.float16(0.3)
    how = {"output_dtype": TensorProto.FLOAT16} if opset == 23 else {}
    nodes = [node("DequantizeLinear", ["q", "s"], ["d"], **how), node("Cast", ["d"], ["y"], to=TensorProto.FLOAT)]
    inputs = [tensor("q", ["n"], TensorProto.INT8)]
    proto = model(nodes, inputs, [("y", ["n"])], {"s": scale}, opset=opset)
    done = emulate(proto)
    onnx.checker.check_model(done, full_check=True)
    numbers = np.array([1, 7, -100], np.int8)
    wanted = (numbers * np.float32(scale)).astype(np.float16)
    assert run(done, {"q": numbers})["y"].tolist() == wanted.astype(np.float32).tolist()


def test_a_low_weight_that_a_subgraph_reads_keeps_its_type():
    proto = branching()
    half = lower(proto, "fp16").model  # the branches stay FP32; make them read an FP16 weight
    half.graph.initializer.append(onnx.numpy_helper.from_array(np.full(4, 3, np.float16), "k"))
    for attribute in next(n for n in half.graph.node if n.op_type == "If").attribute:
        inner = attribute.g.node[0]
        inner.input[1] = "wide_k"
        attribute.g.node.insert(0, node("Cast", ["k"], ["wide_k"], to=TensorProto.FLOAT))
    extra = [node("Cast", ["k"], ["k32"], to=TensorProto.FLOAT), node("Add", ["y", "k32"], ["z"])]
    half.graph.node.extend(extra)
    half.graph.output[0].name = "z"
    done = emulate(half)
    onnx.checker.check_model(done, full_check=True)
    feed = random_feed(proto)
    feed["which"] = np.array(True)
    h = rounded(feed["x"], "fp16") @ rounded(initializer(proto, "w"), "fp16")
    assert np.allclose(run(done, feed)["z"], rounded(h, "fp16") + 6, atol=5e-3)


def test_inputs_and_outputs_of_the_lower_type():
    proto = lower(mlp(), "fp16", io="low").model
    feed = {k: v.astype(np.float16) for k, v in random_feed(mlp()).items()}
    wanted = run(mlp(), {k: v.astype(np.float32) for k, v in feed.items()})["y"]
    got = run(emulate(proto), feed)["y"]
    assert got.dtype == np.float16
    assert np.abs(got.astype(np.float32) - wanted).max() < 0.02
