from dataclasses import replace

import numpy as np
import pytest
from onnx_models import mlp, model, node, weights
from onnx_text import parsed
from plan_values import plan, profile

from trtbuild.artifacts import EngineLayer, EngineLayers, LayerTensor, TargetRates
from trtbuild.roofline import PRECISIONS, graph_estimate, plan_estimate
from trtbuild.spec import shipped_targets

L4 = shipped_targets()["l4"].rates()
ROUND = TargetRates("round", {"fp32": 25e12, "tf32": 50e12, "fp16": 100e12, "bf16": 100e12, "int8": 200e12}, 1e12)


def gemm(rows, inner, columns):
    return model(
        [node("MatMul", ["x", "w"], ["y"], "it")],
        [("x", [rows, inner])],
        [("y", [rows, columns])],
        {"w": np.zeros((inner, columns), np.float32)},
    )


def test_a_hand_worked_gemm_on_an_l4():
    # 4096 x 1024 times 1024 x 1024: 2 * 2^32 operations; 121 TFLOPS in FP16, 242.5 TOPS in INT8, 300 GB/s, 48 MiB
    found = {p: graph_estimate(gemm(4096, 1024, 1024), L4, {}, p) for p in ("fp32", "fp16", "int8")}
    operations, weight, passing = 2 * 2**32, 2**20, 2 * 2**22  # 2^22 elements come in and as many go out
    assert found["fp16"].estimated_seconds == pytest.approx(operations / 121e12)
    assert found["int8"].estimated_seconds == pytest.approx(operations / 242.5e12)
    assert found["fp32"].estimated_seconds == pytest.approx(operations / 30.3e12)
    uncached = (2 * weight + 2 * passing) / 300e9  # 63 us: less than the 71 us that the products take
    assert found["fp16"].estimated_seconds_uncached == pytest.approx(max(operations / 121e12, uncached))
    assert {e.parts[0].bound for e in found.values()} == {"compute"}
    assert found["fp16"].parts[0].bytes == 2 * weight + 2 * passing
    assert found["fp16"].parts[0].macs == 2**32


def test_a_hand_worked_row_is_bound_by_its_weight():
    found = graph_estimate(gemm(1, 1024, 1024), L4, {}, "fp16")
    assert found.estimated_seconds == pytest.approx(2 * 2**20 / 300e9)  # 2 KiB each way stay in the cache
    assert found.estimated_seconds_uncached == pytest.approx((2 * 2**20 + 2 * 2 * 1024) / 300e9)
    assert found.bound_shares == {"memory": pytest.approx(1)}
    stored = graph_estimate(gemm(1, 1024, 1024), L4, {}, "int4")
    assert stored.estimated_seconds == pytest.approx(2**19 / 300e9)


def test_what_lies_between_matrix_nodes_counts_as_bytes_alone():
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "first"),
        node("Softmax", ["a"], ["b"], "softmax"),
        node("Mul", ["b", "x"], ["c"], "scale"),
        node("MatMul", ["c", "w"], ["y"], "second"),
    ]
    proto = model(nodes, [("x", ["n", 64])], [("y", ["n", 64])], {"w": weights((64, 64))})
    found = graph_estimate(proto, ROUND, {"n": 1000}, "fp16")
    assert [(p.nodes, p.macs > 0) for p in found.parts] == [
        (("first",), True), (("softmax", "scale"), False), (("second",), True),
    ]  # fmt: skip
    between = found.parts[1]
    assert between.bytes == 2 * 3 * 64_000  # a and x come in, c goes out
    assert between.estimated_seconds == pytest.approx(between.bytes / 1e12)
    assert found.estimated_seconds == pytest.approx(sum(p.estimated_seconds for p in found.parts))


def test_an_activation_function_is_part_of_the_matrix_node_before_it():
    found = graph_estimate(mlp(8), ROUND, {"n": 4}, "fp16")
    assert [p.nodes for p in found.parts] == [("fc1",), ("fc2",), ("skip",)]


ATTENTION = """attention (float[n,2,s,16] q, float[n,2,16,s] k, float[n,2,s,16] v, float[n,1,1,s] mask) => (float[n,2,s,16] y)
<float half = {0.5}> {
  scores = MatMul(q, k)
  scaled = Mul(scores, half)
  masked = Add(scaled, mask)
  weights = Softmax<axis=-1>(masked)
  y = MatMul(weights, v)
}"""


def attention():
    return parsed(ATTENTION)


def test_scores_of_an_attention_stay_inside_it_in_fp16_and_not_in_fp32():
    sizes = {"n": 4, "s": 128}
    (fused,) = graph_estimate(attention(), ROUND, sizes, "fp16").parts
    outside = 4 * (4 * 2 * 128 * 16) + 4 * 128  # q, k, v, y and the mask
    assert fused.bytes == 2 * (outside + 1)
    assert fused.macs == 2 * 4 * 2 * 128 * 128 * 16
    apart = graph_estimate(attention(), ROUND, sizes, "fp32").parts
    assert [len(p.nodes) for p in apart] == [1, 3, 1]
    assert sum(p.bytes for p in apart) > 4 * outside + 4 * 4 * 2 * 128 * 128 * 4
    assert sum(p.macs for p in apart) == fused.macs


def test_a_typed_graph_is_estimated_as_it_is():
    half = parsed("g (float16[n,64] x) => (float16[n,64] y) { y = Relu(x) }")
    found = graph_estimate(half, ROUND, {"n": 8})
    assert found.precision == "fp16"
    assert found.parts[0].bytes == 2 * 2 * 8 * 64


def test_every_precision_of_a_model_can_be_ranked():
    found = {p: graph_estimate(gemm(4096, 1024, 1024), ROUND, {}, p).estimated_seconds for p in PRECISIONS}
    assert found["int8"] < found["fp16"] < found["tf32"] < found["fp32"]
    assert found["int8_weights"] == found["int4"] == found["fp16"], "weights alone make no product faster"
    assert found["fp8"] == found["int8"]


def test_a_part_whose_shapes_are_not_known_is_named():
    proto = parsed("g (float[n,4] x, int64[2] s) => (float[a,b] y) { r = Reshape(x, s) y = Relu(r) }")
    found = graph_estimate(proto, ROUND, {"n": 2}, "fp32")
    assert found.unknown == ("r",), "a node without a name goes by what it makes"


# --- finished plans -------------------------------------------------------------------------------------------------


def tensor(dtype, *dims):
    return LayerTensor("t", dtype, dims)


def kernel(kind="gemm", precision="fp16", macs=0, *, inputs=(), constants=(), outputs=(), name="k", **more):
    return EngineLayer(name, kind, precision, (), tuple(inputs), tuple(outputs), tuple(constants), macs=macs, **more)


GEMM = kernel(
    macs=2**32,
    inputs=[tensor("fp16", 4096, 1024)],
    constants=[tensor("fp16", 1024, 1024)],
    outputs=[tensor("fp16", 4096, 1024)],
)


def planned(tmp_path, *kernels, **more):
    return replace(plan(tmp_path), layers=EngineLayers(kernels, source="build log"), **more)


def test_a_kernel_takes_as_long_as_the_same_gemm_of_a_graph(tmp_path):
    found = plan_estimate(planned(tmp_path, GEMM), L4)
    graph = graph_estimate(gemm(4096, 1024, 1024), L4, {}, "fp16")
    assert found.estimated_seconds == pytest.approx(graph.estimated_seconds)
    assert found.estimated_seconds_uncached == pytest.approx(graph.estimated_seconds_uncached)
    assert found.parts[0].bytes == graph.parts[0].bytes
    assert found.unknown == ()
    assert found.target == "l4"
    assert "datasheet" in found.source


def test_a_reformat_costs_what_it_moves(tmp_path):
    reformat = kernel("reformat", "fp32", inputs=[tensor("fp32", 1000, 1000)], outputs=[tensor("int8", 1000, 1000)])
    found = plan_estimate(planned(tmp_path, reformat), ROUND)
    assert found.estimated_seconds == pytest.approx(5e6 / 1e12)
    assert found.parts[0].bound == "memory"
    kept = plan_estimate(planned(tmp_path, reformat), replace(ROUND, cache=5e6))
    assert (kept.estimated_seconds, kept.parts[0].bound) == (0, "cache")
    assert kept.estimated_seconds_uncached == pytest.approx(5e6 / 1e12)


def test_kernels_that_wait_are_left_out_and_those_not_known_are_named(tmp_path):
    hidden = kernel("gemm", "fp16", None, inputs=[tensor("fp16", 10, 10)], name="hidden")
    found = plan_estimate(planned(tmp_path, kernel("signal"), GEMM, hidden), L4)
    assert [p.name for p in found.parts] == ["k", "hidden"]
    assert found.unknown == ("hidden",)


def test_weights_alone_in_int8_are_multiplied_in_what_comes_in(tmp_path):
    stored = replace(GEMM, precision="int8_weights", constants=(tensor("int8", 1024, 1024),))
    found = plan_estimate(planned(tmp_path, stored), L4)
    assert found.estimated_seconds == pytest.approx(2 * 2**32 / 121e12)


def test_fp32_kernels_of_a_tf32_plan_have_its_rate(tmp_path):
    single = replace(GEMM, precision="fp32")
    plain = plan_estimate(planned(tmp_path, single, precision="fp32"), ROUND)
    assert plan_estimate(planned(tmp_path, single, precision="tf32"), ROUND).estimated_seconds == pytest.approx(
        plain.estimated_seconds / 2
    )


def test_each_profile_has_kernels_and_sizes_of_its_own(tmp_path):
    half = replace(GEMM, macs=2**31, profile=1)
    two = planned(tmp_path, GEMM, half, profiles=(profile(batch=(1, 8, 32)), profile(batch=(1, 4, 32))))
    found = [plan_estimate(two, L4, profile=number) for number in (0, 1)]
    assert [(len(e.parts), e.sizes) for e in found] == [(1, {"batch": 8}), (1, {"batch": 4})]
    assert found[0].estimated_seconds == pytest.approx(2 * found[1].estimated_seconds)


def test_a_plan_whose_kernels_are_only_named_has_no_estimate(tmp_path):
    assert plan_estimate(planned(tmp_path, EngineLayer("a", "", "unknown", ())), L4) is None
    assert plan_estimate(planned(tmp_path), L4) is None
    assert plan_estimate(planned(tmp_path, replace(GEMM, macs=None)), L4) is None, "no product is known"


def test_figures_that_are_assumed_are_said(tmp_path):
    found = plan_estimate(planned(tmp_path, GEMM), TargetRates("new", {}, None))
    assert len(found.assumed) == 2
