"""INT8 and FP16 in one graph, and the graph's own types."""

import re

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_models import branching, cnn, initializer, mlp, model, node, ops, random_feed, run, save, weights

from trtbuild.artifacts import AxisRange, OptimizationProfile, Target
from trtbuild.calibration import calibrate
from trtbuild.emulation import emulate
from trtbuild.engine import compile as build_plan
from trtbuild.engine import typed_from_file
from trtbuild.matrixops import node_precisions
from trtbuild.precision.lowering.lower import lower
from trtbuild.quantization import place, write_qdq

RTX = Target("sm89", "tensorrt_rtx", "8.9")


def types(proto):
    graph = onnx.shape_inference.infer_shapes(proto).graph
    found = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    return found | {t.name: t.data_type for t in graph.initializer}


def network(opset, width=32):
    """Two linear layers around a LayerNormalization, and a residual."""
    nodes = [
        node("MatMul", ["x", "w1"], ["a"], "fc1"),
        node("Add", ["a", "b1"], ["c"], "bias"),
        node("Relu", ["c"], ["r"], "relu"),
        node("MatMul", ["r", "w2"], ["d"], "fc2"),
        node("Add", ["d", "x"], ["e"], "skip"),
        node("LayerNormalization", ["e", "g"], ["y"], "norm", axis=-1),
    ]
    constants = {"w1": weights((width, width), 1, 0.2), "b1": weights(width, 2), "w2": weights((width, width), 3, 0.2)}
    constants["g"] = np.ones(width, np.float32)
    return model(nodes, [("x", ["n", width])], [("y", ["n", width])], constants, opset=opset)


def quantised(proto, tmp_path):
    feeds = [random_feed(proto, seed, n=16) for seed in range(3)]
    table = calibrate(save(proto, tmp_path / "fp32.onnx"), feeds, method="minmax")
    return write_qdq(proto, place(proto), {n: r.amax for n, r in table.ranges.items()})


def built(proto, tmp_path):
    path = save(proto, tmp_path / "typed.onnx")
    profiles = (OptimizationProfile({"n": AxisRange(1, 4, 8)}),)
    typed = typed_from_file(path, profiles=profiles)
    return build_plan(typed, tmp_path, target=RTX, profiles=profiles)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("opset", [17, 19, 21, 23])
def test_int8_layers_stay_and_the_rest_is_lowered(opset, precision, tmp_path):
    proto = network(opset)
    q = quantised(proto, tmp_path)
    done = lower(q, precision)
    onnx.checker.check_model(done.model, full_check=True)
    assert done.kept == {}
    low = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision]
    found = types(done.model)
    for n in done.model.graph.node:
        if n.op_type in ("MatMul", "Add", "Relu", "LayerNormalization"):
            assert {found[t] for t in (*n.input, *n.output)} == {low}, n.name
    dequantised = {found[n.output[0]] for n in done.model.graph.node if n.op_type == "DequantizeLinear"}
    assert dequantised == {TensorProto.FLOAT}  # scales keep all their bits
    assert set(node_precisions(done.model).values()) == {"int8"}
    if opset < 23:  # ONNX Runtime's newest Q/DQ kernels
        feed = random_feed(proto, 9)
        limit = {"fp16": 0.02, "bf16": 0.1}[precision]
        assert np.abs(run(q, feed)["y"] - run(emulate(done.model), feed)["y"]).max() < limit


def test_a_quantised_tensor_that_is_there_in_fp32_is_read_in_fp32(tmp_path):
    done = lower(quantised(network(21), tmp_path), "fp16")
    quantise = next(n for n in done.model.graph.node if n.op_type == "QuantizeLinear")
    assert list(quantise.input[:2]) == ["x", "x/scale"]


def test_an_int8_layer_beyond_fp16_stays_in_fp32(tmp_path):
    q = quantised(network(21), tmp_path)
    done = lower(q, "fp16", ranges={"r": (0.0, 1e5)})
    assert {"relu", "fc2"} <= set(done.kept)
    assert types(done.model)["r/dequantized"] == TensorProto.FLOAT


def outputs_of(plan, kind):
    """Element types that an engine's kernels of one kind hand on, as TensorRT-RTX's log names them."""
    lines = [line for line in plan.log.path.read_text().splitlines() if f"LayerType: {kind}" in line]
    return {t for line in lines for t in re.findall(r"Datatype: (\w+)", line.partition("Outputs: ")[2])}


@pytest.mark.parametrize("opset", [17, 21])
def test_int8_with_fp16_builds_and_its_kernels_stay_int8(opset, tmp_path):
    plan = built(lower(quantised(network(opset), tmp_path), "fp16").model, tmp_path)
    assert plan.work.shares == {"int8": 1.0}
    assert any("Half" in line for line in plan.log.path.read_text().splitlines() if "LayerType: kgen" in line)
    assert outputs_of(plan, "gemm") == {"Float"}  # its integers summed, not scaled yet: Half would overflow


def weights_only(scale=0.2, opset=21, kind="int4", width=128):
    nodes = [node("MatMul", ["x", "w"], ["a"], "fc"), node("Relu", ["a"], ["y"], "relu")]
    proto = model(
        nodes, [("x", ["n", width])], [("y", ["n", width])], {"w": weights((width, width), 1, scale)}, opset=opset
    )
    return write_qdq(proto, place(proto), {}, formats=kind)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_weights_alone_are_unpacked_in_the_lower_type(precision):
    q = weights_only()
    done = lower(q, precision)
    onnx.checker.check_model(done.model, full_check=True)
    found = types(done.model)
    unpacked = next(n.output[0] for n in done.model.graph.node if n.op_type == "DequantizeLinear")
    assert found[unpacked] == {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision]
    assert ops(done.model).count("Cast") == 2
    feed = random_feed(q)
    assert (
        np.abs(run(q, feed)["y"] - run(emulate(done.model), feed)["y"]).max() < {"fp16": 0.02, "bf16": 0.1}[precision]
    )


@pytest.mark.parametrize("parameters", [{"scale": 1e-4}, {"opset": 17, "kind": "int8_weights"}])
def test_scales_that_the_lower_type_does_not_hold_stay_in_fp32(parameters):
    done = lower(weights_only(**parameters), "fp16")
    unpacked = next(n.output[0] for n in done.model.graph.node if n.op_type == "DequantizeLinear")
    assert types(done.model)[unpacked] == TensorProto.FLOAT


def test_int4_is_unpacked_inside_the_kernel_of_its_product(tmp_path):
    plan = built(lower(weights_only(width=512), "fp16").model, tmp_path)
    assert plan.work.shares == {"int4": 1.0}
    readers = [layer for layer in plan.layers if layer.precision == "int4"]
    assert [layer.onnx_nodes[-1:] for layer in readers] == [("fc",)]  # no kernel only unpacks it


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("make", [mlp, lambda: cnn(22), branching], ids=["mlp", "cnn", "branching"])
def test_inputs_and_outputs_take_the_lower_type_when_asked(make, precision):
    proto = make()
    done = lower(proto, precision, io="low").model
    onnx.checker.check_model(done, full_check=True)
    low, name = {"fp16": (TensorProto.FLOAT16, np.float16), "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16)}[
        precision
    ]
    assert [v.name for v in done.graph.input] == [v.name for v in proto.graph.input]
    for value in (*done.graph.input, *done.graph.output):
        assert value.type.tensor_type.elem_type in (low, TensorProto.BOOL)
    if make is mlp:
        assert "Cast" not in ops(done)
    if precision == "fp16":  # ONNX Runtime's Python has no BF16 arrays
        feed = random_feed(proto)
        given = {k: v.astype(name) if v.dtype == np.float32 else v for k, v in feed.items()}
        got = run(emulate(done), given)["y"]
        assert got.dtype == np.float16
        assert np.abs(got.astype(np.float32) - run(proto, feed)["y"]).max() < 0.02


def test_an_input_that_does_not_fit_and_one_that_is_no_float_keep_their_types():
    nodes = [node("Mul", ["x", "k"], ["a"], "mul"), node("Add", ["a", "z"], ["y"], "add")]
    proto = model(nodes, [("x", ["n", 4]), ("z", ["n", 4])], [("y", ["n", 4])], {"k": np.float32(1e-4)})
    done = lower(proto, "fp16", ranges={"x": (0, 1e5), "a": (0, 10)}, io="low")
    onnx.checker.check_model(done.model, full_check=True)
    assert [v.type.tensor_type.elem_type for v in done.model.graph.input] == [1, TensorProto.FLOAT16]
    assert set(done.kept) == {"mul"}


def test_an_output_that_is_read_again_and_handed_out_in_fp16():
    nodes = [
        node("Relu", ["x"], ["a"], "one"),
        node("CumSum", ["a", "axis"], ["b"], "sum"),
        node("Neg", ["a"], ["y"], "two"),
    ]
    proto = model(nodes, [("x", ["n", 4])], [("a", ["n", 4]), ("b", ["n", 4]), ("y", ["n", 4])], {"axis": np.array(1)})
    done = lower(proto, "fp16", io="low").model
    onnx.checker.check_model(done, full_check=True)
    feed = random_feed(proto)
    got = run(emulate(done), {"x": feed["x"].astype(np.float16)})
    for name, wanted in run(proto, feed).items():
        assert got[name].dtype == np.float16
        assert np.abs(got[name].astype(np.float32) - wanted).max() < 0.01
    assert initializer(done, "axis") == 1


def test_a_graph_with_fp32_islands_and_fp16_inputs_builds(tmp_path):
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "matmul"),
        node("Abs", ["a"], ["b"], "abs"),
        node("Max", ["b", "eps"], ["g"], "guard"),
        node("Div", ["a", "g"], ["y"], "div"),
    ]
    constants = {"w": weights((32, 32)), "eps": np.float32(1e-12)}
    proto = model(nodes, [("x", ["n", 32])], [("y", ["n", 32])], constants, opset=20)
    done = lower(proto, "fp16", io="low")
    assert set(done.kept) == {"abs", "guard", "div"} - {"abs"}
    plan = built(done.model, tmp_path)
    assert [t.dtype for t in (*plan.inputs, *plan.outputs)] == ["float16", "float16"]
    assert plan.work.shares == {"fp16": 1.0}
