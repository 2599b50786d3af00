"""Real builds: what the kernels of a model with dynamic axes multiply and move, held against a build of fixed sizes."""

import math
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from trtbuild.artifacts import AxisRange, EngineLayer, EngineLayers, LayerTensor, OptimizationProfile, Target
from trtbuild.engine import compile as compile_plan
from trtbuild.engine.layers import weighed
from trtbuild.onnxfile import inputs, load

pytest.importorskip("tensorrt_rtx")

HEADS, WIDTH, DEEP = 2, 64, 128
BATCH, ROWS = 3, 40
SIZES = OptimizationProfile({"batch": AxisRange(1, BATCH, 8), "rows": AxisRange(8, ROWS, 80)})
FIXED = OptimizationProfile({"batch": AxisRange(BATCH, BATCH, BATCH), "rows": AxisRange(ROWS, ROWS, ROWS)})

BLOCK = f"""
<ir_version: 8, opset_import: ["" : 17]>
block (float16[batch, rows, {WIDTH}] x) => (float16[batch, rows, {WIDTH}] y, float16[batch, {WIDTH}] mean)
<int64[4] heads = {{0, 0, {HEADS}, {WIDTH // HEADS}}}, int64[3] whole = {{0, 0, {WIDTH}}}>
{{
    q0 = MatMul(x, wq)
    k0 = MatMul(x, wk)
    v0 = MatMul(x, wv)
    q1 = Reshape(q0, heads)
    k1 = Reshape(k0, heads)
    v1 = Reshape(v0, heads)
    q = Transpose<perm = [0, 2, 1, 3]>(q1)
    k = Transpose<perm = [0, 2, 3, 1]>(k1)
    v = Transpose<perm = [0, 2, 1, 3]>(v1)
    scores = MatMul(q, k)
    shares = Softmax<axis = -1>(scores)
    mixed = MatMul(shares, v)
    rows = Transpose<perm = [0, 2, 1, 3]>(mixed)
    merged = Reshape(rows, whole)
    added = Add(merged, x)
    deep = MatMul(added, wu)
    active = Relu(deep)
    back = MatMul(active, wd)
    y = Add(back, added)
    mean = ReduceMean<axes = [1], keepdims = 0>(y)
}}
"""


def block(path):
    model = parser.parse_model(BLOCK)
    rng = np.random.default_rng(5)
    for name, shape in {
        "wq": (WIDTH, WIDTH),
        "wk": (WIDTH, WIDTH),
        "wv": (WIDTH, WIDTH),
        "wu": (WIDTH, DEEP),
        "wd": (DEEP, WIDTH),
    }.items():
        model.graph.initializer.append(
            numpy_helper.from_array((rng.standard_normal(shape) / 8).astype(np.float16), name)
        )
    for node in model.graph.node:
        node.name = f"/{node.output[0]}"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    path = block(folder / "block.onnx")
    found = {}
    for name, profiles in {"dynamic": (SIZES,), "fixed": (FIXED,), "both": (FIXED, SIZES)}.items():
        (folder / name).mkdir()
        target = Target("mine", "tensorrt_rtx", "8.9")
        found[name] = compile_plan(path, folder / name, target=target, profiles=profiles)
    return found


def by_nodes(layers):
    return {(k.role, frozenset(k.onnx_nodes), len(k.inputs), len(k.outputs)): k for k in layers if k.onnx_nodes}


def test_dynamic_tensors_have_the_sizes_of_a_build_of_fixed_shapes(plans):
    dynamic, fixed = by_nodes(plans["dynamic"].layers), by_nodes(plans["fixed"].layers)
    resolved, unknown = 0, 0
    for kernel in dynamic.keys() & fixed.keys():
        for side in ("inputs", "outputs"):
            true = Counter(t.elements for t in getattr(fixed[kernel], side))
            said = Counter(t.elements for t in getattr(dynamic[kernel], side) if t.dynamic)
            unknown += said.pop(None, 0)
            assert not said - true, dynamic[kernel].name
            resolved += said.total()
    assert (resolved >= 15, unknown) == (True, 1)  # of three merged products, stacked in one tensor, nothing is said
    assert not any(t.dynamic for k in plans["fixed"].layers for t in (*k.inputs, *k.outputs))


def test_the_work_of_a_whole_engine_is_the_models(plans):
    rows = BATCH * ROWS
    macs = rows * (3 * WIDTH * WIDTH + 2 * WIDTH * DEEP) + 2 * BATCH * ROWS * ROWS * WIDTH
    for plan in plans["dynamic"], plans["fixed"]:
        share = plan.layers.share_by_flops()
        assert (share.total, share.unknown, share.shares) == (2 * macs, 0, {"fp16": 1.0})


def test_attention_is_one_kernel_and_no_softmax_stands_alone(plans):
    layers = plans["dynamic"].layers
    (attention,) = layers.with_role("attention")
    assert {"/scores", "/shares", "/mixed"} <= set(attention.onnx_nodes)
    assert attention.macs == 2 * BATCH * ROWS * ROWS * WIDTH
    assert layers.of_node("/shares") == (attention,)
    assert layers.doing("Exp") == ()


def test_each_profile_has_kernels_and_work_of_its_own(plans):
    layers = plans["both"].layers
    assert layers.profiles == (0, 1)
    first, second = (layers.of_profile(number) for number in layers.profiles)
    assert len(first) + len(second) == len(layers)
    assert len(first.with_role("attention")) == len(second.with_role("attention")) == 1
    assert first.share_by_flops().total == second.share_by_flops().total == plans["fixed"].layers.share_by_flops().total
    assert plans["both"].work.not_honoured == {}


def test_what_no_kernel_names_has_vanished(plans):
    layers = plans["dynamic"].layers
    named = {node for layer in layers for node in layer.onnx_nodes}
    everything = {f"/{node}" for node in (
        ["q0", "k0", "v0", "q1", "k1", "v1", "q", "k", "v", "scores", "shares", "mixed", "rows", "merged", "added", "deep", "active", "back", "y", "mean"]
    )}  # fmt: skip
    assert set(layers.vanished) == everything - named
    assert "/scores" not in layers.vanished


def test_bytes_are_those_of_what_comes_in_and_goes_out(plans):
    layers = plans["dynamic"].layers
    up = next(k for k in layers.of_node("/deep") if k.role == "matrix")
    assert up.bytes == 2 * (BATCH * ROWS * WIDTH + WIDTH * DEEP + BATCH * ROWS * DEEP) + sum(
        t.bytes for t in up.constants if math.prod(t.dims) < WIDTH * DEEP
    )


def test_where_kernels_disagree_nothing_is_said(plans, tmp_path):
    model = load(block(tmp_path / "m.onnx"))
    odd = LayerTensor("t", "fp16", (-1, WIDTH))
    made = EngineLayer("__myl_Add_myl0_0", "kgen", "fp16", ("/y",), outputs=(odd,))
    read = EngineLayer("__myl_Mean_myl0_1", "kgen", "fp16", ("/mean",), inputs=(odd,))
    other = EngineLayer("__myl_Relu_myl0_2", "kgen", "fp16", ("/active",), inputs=(odd,))

    def count(*layers):
        return weighed(EngineLayers(layers), model, inputs(model), (SIZES,))[0].outputs[0].elements

    assert count(made, read) == BATCH * ROWS * WIDTH
    assert count(made, read, other) is None


def test_without_a_profile_dynamic_tensors_stay_unknown(plans, tmp_path):
    model = load(block(tmp_path / "m.onnx"))
    kernel = EngineLayer("k", "gemm", "fp16", ("/deep",), inputs=(LayerTensor("x", "fp16", (-1, WIDTH)),))
    found = weighed(EngineLayers((kernel,)), model, inputs(model), ())[0]
    assert (found.macs, found.flops, found.bytes) == (None, None, None)


def test_a_tensor_may_be_a_part_of_the_one_of_its_name(tmp_path):
    model = load(block(tmp_path / "m.onnx"))
    whole, part = LayerTensor("t", "fp16", (-1, -1, WIDTH)), LayerTensor("t", "fp16", (-1, -1, WIDTH // 2))
    layers = (
        EngineLayer("a", "kgen", "fp16", ("/added",), outputs=(whole,)),
        EngineLayer("b", "kgen", "fp16", ("other",), inputs=(part,)),
    )
    found = weighed(EngineLayers(layers), model, inputs(model), (SIZES,))
    assert found[0].outputs[0].elements == BATCH * ROWS * WIDTH
    assert found[1].inputs[0].elements is None


def test_channels_that_a_layout_fills_up_are_counted(tmp_path):
    path = tmp_path / "conv.onnx"
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float16[batch, 3, 8, 8] x) => (float16[batch, 4, 8, 8] y) { y = Conv<pads = [1, 1, 1, 1]>(x, w) }
    """
    model = parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float16), "w"))
    model.graph.node[0].name = "conv"
    onnx.save(model, path)
    kernel = EngineLayer("conv", "correlation", "fp16", ("conv",), inputs=(LayerTensor("p", "fp16", (-1, 4, 8, 8)),))
    sizes = OptimizationProfile({"batch": AxisRange(1, 4, 8)})
    found = weighed(EngineLayers((kernel,)), model, inputs(model), (sizes,))[0]
    assert found.inputs[0].elements == 4 * 4 * 8 * 8
    assert found.macs == 4 * 4 * 8 * 8 * 3 * 9


@pytest.mark.parametrize(
    ("node", "dims", "elements"),
    [
        ("/mean", (-1, 1, WIDTH), BATCH * WIDTH),  # an axis of size one more
        ("/deep", (-1, DEEP), BATCH * ROWS * DEEP),  # batch and rows in one
        ("/q", (-1, ROWS, WIDTH), None),  # rows are dynamic: TensorRT would print -1
        ("/k", (-1, -1, HEADS, WIDTH // HEADS), BATCH * ROWS * WIDTH),  # axes turned
        ("/deep", (BATCH, -1, DEEP), None),  # three merged products, stacked, and not a batch of three
        ("/deep", (-1, 1), None),  # one a row: nothing says how many rows
    ],
)
def test_what_the_dimensions_of_a_tensor_say(tmp_path, node, dims, elements):
    model = load(block(tmp_path / "m.onnx"))
    kernel = EngineLayer("k", "kgen", "fp16", (node,), outputs=(LayerTensor("t", "fp16", dims),))
    assert weighed(EngineLayers((kernel,)), model, inputs(model), (SIZES,))[0].outputs[0].elements == elements


def test_a_batch_of_one_is_merged_like_any_other(tmp_path):
    model = load(block(tmp_path / "m.onnx"))
    one = OptimizationProfile({"batch": AxisRange(1, 1, 8), "rows": AxisRange(8, ROWS, 80)})
    kernel = EngineLayer("k", "gemm", "fp16", ("/deep",), outputs=(LayerTensor("t", "fp16", (-1, DEEP)),))
    assert weighed(EngineLayers((kernel,)), model, inputs(model), (one,))[0].outputs[0].elements == ROWS * DEEP
