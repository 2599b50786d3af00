import math

import pytest
from quantized_models import FORMATS_OF

from trtbuild.artifacts import EngineLayer, EngineLayers, EngineTensor, LayerTensor
from trtbuild.engine.layers import from_log, precision_share


def layer(precision, *nodes, kind="gemm"):
    return EngineLayer("k", kind, precision, nodes)


def test_kernels_of_a_real_int8_log(golden):
    found = from_log((golden / "cnn_int8.layers").read_text())
    assert [(k.kind, k.precision) for k in found if k.onnx_nodes and k.kind != "kgen"] == [
        ("correlation", "int8"), ("correlation", "int8"), ("gemm", "int8"),
    ]  # fmt: skip
    assert "/c1/Conv" in found[2].onnx_nodes
    assert found[2].name == "/c1/Conv_myl0_2"
    assert all(k.name and k.kind for k in found)


def test_kernels_of_a_real_fp16_log(golden):
    found = from_log((golden / "cnn_fp16.layers").read_text())
    assert {k.precision for k in found if k.kind in ("correlation", "gemm")} == {"fp16"}


def test_share_of_a_real_log(golden):
    found = from_log((golden / "cnn_int8.layers").read_text())
    nodes = [
        n for k in found if k.kind in ("correlation", "gemm") for n in k.onnx_nodes if n.endswith(("Conv", "Gemm"))
    ]
    assert len(nodes) == 3
    share = precision_share(found, dict.fromkeys(nodes, "int8"), {})
    assert share.shares == {"int8": 1}
    assert share.not_honoured == {}
    other = precision_share(found, dict.fromkeys(nodes, "fp16"), {})
    assert other.not_honoured == dict.fromkeys(nodes, ("fp16", "int8"))


def test_kernels_of_a_real_log_of_mixed_formats(golden):
    found = from_log((golden / "mixed_formats.layers").read_text())
    assert [(k.kind, k.precision) for k in found if k.kind not in ("kgen", "shape_call")] == [
        ("gemm", "fp8"), ("runtime_fusion", "int4"), ("runtime_fusion", "int8_weights"), ("gemm", "int8"),
    ]  # fmt: skip
    share = precision_share(found, FORMATS_OF, {})
    assert share.nodes == FORMATS_OF
    assert share.shares == dict.fromkeys(FORMATS_OF.values(), 0.25)
    assert share.not_honoured == {}


def test_kernels_of_a_real_fp8_log(golden):
    found = from_log((golden / "cnn_fp8.layers").read_text())
    share = precision_share(found, dict.fromkeys(("conv1", "conv2", "head"), "fp8"), {})
    assert (share.shares, share.not_honoured) == ({"fp8": 1}, {})


def test_one_row_times_int4_weights_is_a_generated_kernel_that_reads_them(golden):
    found = from_log((golden / "row_int4.layers").read_text())
    assert {k.kind for k in found} == {"kgen"}
    assert precision_share(found, dict.fromkeys(FORMATS_OF, "int4"), {}).not_honoured == {}


@pytest.mark.parametrize(
    ("inputs", "constants", "precision"),
    [
        (["Half"], ["Int8", "Half"], "int8_weights"),
        (["Float"], ["Int4", "Half"], "int4"),
        (["BFloat16", "Half"], ["Int4"], "int4"),
        (["Int8"], ["Int8", "Float"], "int8"),
        (["Int8", "Half"], ["Int4"], "int8"),
        (["FP8"], ["FP8", "Float"], "fp8"),
        (["Half"], ["FP8", "Half"], "fp16"),
        ([], ["Int4", "Half"], "int4"),
        (["Half", "Half"], ["Float"], "fp16"),
        (["Bool"], ["Int8"], "int8"),
    ],
)
def test_a_weight_that_a_kernel_expands_counts_where_a_float_comes_in(inputs, constants, precision):
    sections = [", ".join(f"{{ Datatype: {t} }}" for t in types) for types in (inputs, constants)]
    line = f"Name: a, LayerType: gemm, Inputs: [ {sections[0]}], Constants: [ {sections[1]}], Outputs: []"
    assert from_log(line)[0].precision == precision


def test_a_generated_kernel_may_cast_its_input_to_the_type_of_its_weight():
    sections = "Inputs: [ { Datatype: Float }], Constants: [ { Datatype: Half }], Outputs: [ { Datatype: Half }]"
    assert from_log(f"Name: __myl_CastReshMulSum_myl0_0, LayerType: kgen, {sections}")[0].precision == "fp16"
    assert from_log(f"Name: it_myl0_0, LayerType: gemm, {sections}")[0].precision == "fp32"


def test_a_weight_expanded_by_another_kernel_is_not_honoured():
    expand = (
        "Name: e, LayerType: kgen, Inputs: [], Constants: [ { Datatype: Int4 }], Outputs: [], Metadata: [ONNX Layer: q]"
    )
    product = "Name: p, LayerType: gemm, Inputs: [ { Datatype: Half }], Constants: [], Outputs: [], Metadata: [ONNX Layer: it]"
    found = precision_share(from_log(f"{expand}\n{product}"), {"it": "int4"}, {})
    assert found.not_honoured == {"it": ("int4", "fp16")}


def test_a_log_without_layers_has_none():
    assert from_log("") == from_log("Layers:\n") == from_log("something else") == EngineLayers()


def test_what_follows_the_layers_is_no_kernel():
    line = (
        "Name: a, LayerType: gemm, Inputs: [ { Datatype: Half }], Constants: [], Outputs: [], Metadata: [ONNX Layer: n]"
    )
    found = from_log(f"Layers:\n{line}\n\nI/O Tensors:\nName: x, LayerType: y")
    assert [(k.name, k.kind, k.precision, k.onnx_nodes) for k in found] == [("a", "gemm", "fp16", ("n",))]


def test_a_name_may_hold_commas_and_brackets():
    line = (
        "Name: a, b [c], LayerType: gemm, Inputs: [ { Datatype: Float }], Outputs: [], Metadata: [ONNX Layer: m/n, o]"
    )
    (found,) = from_log(line)
    assert (found.name, found.precision, found.onnx_nodes) == ("a, b [c]", "fp32", ("m/n, o",))


def test_a_kernel_of_constants_only_takes_their_type():
    line = "Name: a, LayerType: gemm, Inputs: [], Constants: [ { Datatype: BFloat16 }], Outputs: [ { Datatype: Float }]"
    assert from_log(line)[0].precision == "bf16"


def test_shares_are_weighted_by_work_and_add_up():
    found = precision_share([layer("int8", "a"), layer("fp32", "b")], {"a": "int8", "b": "int8"}, {"a": 300, "b": 100})
    assert found.shares == {"int8": 0.75, "fp32": 0.25}
    assert list(found.shares) == ["int8", "fp32"]
    assert found.nodes == {"a": "int8", "b": "fp32"}
    assert found.not_honoured == {"b": ("int8", "fp32")}


def test_a_node_without_work_weighs_as_much_as_the_usual_one():
    found = precision_share(
        [layer("int8", "a", "b", "c"), layer("fp32", "d")], dict.fromkeys("abcd", "int8"), {"a": 1, "b": 10, "c": 99}
    )
    assert found.shares["fp32"] == pytest.approx(10 / 120)


def test_a_node_that_no_kernel_names_is_not_honoured():
    found = precision_share([], {"a": "fp16"}, {})
    assert (found.shares, found.not_honoured) == ({"unknown": 1}, {"a": ("fp16", "unknown")})


def test_an_elementwise_kernel_that_names_a_matrix_node_does_not_speak_for_it():
    kernels = [layer("fp32", "a", kind="kgen"), layer("int8", "a", kind="correlation")]
    assert precision_share(kernels, {"a": "int8"}, {}).nodes == {"a": "int8"}
    kernels = [layer("int8", "a", kind="kgen"), layer("fp32", "a", kind="correlation")]
    assert precision_share(kernels, {"a": "int8"}, {}).not_honoured == {"a": ("int8", "fp32")}


def test_a_model_without_matrix_work_has_no_shares():
    found = precision_share([layer("fp32", "relu", kind="kgen")], {}, {})
    assert (found.shares, found.nodes, found.not_honoured) == ({}, {}, {})


def test_the_tensors_of_a_real_kernel(golden):
    convolution = from_log((golden / "cnn_int8.layers").read_text())[2]
    assert convolution.inputs == (
        LayerTensor(
            "__mye864/c1/Conv_output_0_before_bias.1_10_myl0", "int8", (-1, 4, 8, 8), "(NHWC) Channel major format"
        ),
    )
    assert [(t.dtype, t.dims) for t in convolution.constants] == [
        ("int8", (16, 4, 3, 3)), ("fp32", (1, 16, 1, 1)), ("fp32", (1, 16, 1, 1)),
    ]  # fmt: skip
    assert [(t.dtype, t.dims, t.layout) for t in convolution.outputs] == [("fp32", (-1, 16, 8, 8), "NHWC")]
    assert (convolution.tactic, convolution.stream, convolution.profile) == ("__myelin_CASK_STUB", 0, 0)


def test_the_inputs_and_outputs_of_a_real_engine(golden):
    assert from_log((golden / "mixed_formats.layers").read_text()).tensors == (
        EngineTensor(
            "x", "input", "fp32", (-1, -1, 64), (((1, 1, 64), (2, 8, 64), (4, 16, 64)),),
            "Row major linear FP32 format (kLINEAR)",
        ),
        EngineTensor("y", "output", "fp32", (-1, -1, 64), (), "Row major linear FP32 format (kLINEAR)"),
    )  # fmt: skip


def test_the_roles_of_real_kernels(golden):
    found = from_log((golden / "cnn_fp16.layers").read_text())
    assert [k.role for k in found] == ["other", "reformat", "matrix", "matrix", "generated", "matrix"]
    assert found[1].conversion == "fp32 Linear -> fp16 NHWC"
    assert found[1].operations == ("Cast", "Repl", "Conc")


def test_a_node_may_be_named_like_a_fused_attention(golden):
    line = "Name: _gemm_mha_v2_myl0_1, LayerType: gemm, Inputs: [], Outputs: [], TacticName: __myelin_CASK_STUB"
    assert from_log(line)[0].role == "matrix"
    assert from_log(line.replace("__myelin_CASK_STUB", "_gemm_mha_v2_0x6f"))[0].role == "attention"


def test_the_bytes_of_a_kernel_of_fixed_shapes(golden):
    kernels = from_log((golden / "row_int4.layers").read_text())
    assert any(t.dtype == "int4" for k in kernels for t in k.constants)
    for kernel in kernels:
        tensors = (*kernel.inputs, *kernel.outputs, *kernel.constants)
        bits = {"int4": 4, "fp16": 16, "fp32": 32}
        assert kernel.bytes == sum(math.prod(t.dims) * bits[t.dtype] // 8 for t in tensors)
    share = kernels.share_by_bytes()
    assert (sum(share.shares.values()), share.unknown) == (pytest.approx(1), 0)


def test_bytes_are_not_known_where_an_axis_is_dynamic(golden):
    kernels = from_log((golden / "cnn_int8.layers").read_text())
    assert kernels[2].bytes is None
    assert kernels.share_by_bytes().unknown == 7


def test_nodes_with_brackets_in_their_names():
    line = "Name: a, LayerType: gemm, Inputs: [], Outputs: [], Metadata: [ONNX Layer: m[0]/n][ONNX Layer: [1]][ONNX Layer: o]"
    assert from_log(line)[0].onnx_nodes == ("m[0]/n", "[1]", "o")


@pytest.mark.parametrize(
    ("nameless", "nodes"),
    [
        (["fp16", "fp16"], {"a": "fp16", "b": "fp16", "c": "fp16"}),
        (["fp32", "fp32"], {"a": "fp16", "b": "fp32", "c": "fp32"}),
        (["fp16"], {"a": "fp16", "b": "unknown", "c": "unknown"}),  # too few to account for both
        (["fp16", "fp32"], {"a": "fp16", "b": "unknown", "c": "unknown"}),  # nothing shows which is which
    ],
)
def test_nodes_without_a_kernel_are_those_of_the_matrix_kernels_without_a_node(nameless, nodes):
    kernels = [EngineLayer("conv_a", "correlation", "fp16", ("a",)), EngineLayer("kgen", "kgen", "fp16", ())]
    kernels += [EngineLayer(f"__myl_FcAdd_myl0_{n}", "runtime_fusion", p, ()) for n, p in enumerate(nameless)]
    assert precision_share(kernels, dict.fromkeys("abc", "fp16"), {}).nodes == nodes
