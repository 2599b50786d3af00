"""The inspector's JSON: files in ``tests/golden`` are written by us in the form that ``inspector.py`` names."""

import json

import pytest

from trtbuild.artifacts import EngineLayer, EngineLayers, EngineTensor
from trtbuild.engine.layers import from_inspector, precision_share


def read(golden, name):
    return from_inspector((golden / f"{name}.json").read_text())


def test_an_engine_of_tensorrt_10(golden):
    found = read(golden, "inspector_10")
    assert [(k.kind, k.role, k.precision, k.stream) for k in found] == [
        ("Reformat", "reformat", "fp32", 0), ("CaskConvolution", "matrix", "fp16", 0), ("gemm", "matrix", "fp16", 1),
        ("kgen", "generated", "fp16", 1),
    ]  # fmt: skip
    assert found[1].onnx_nodes == ("/stem/Conv", "/stem/Relu")
    assert found[2].onnx_nodes == ("/head/MatMul", "/head/Add")
    assert [t.name for t in found.tensors] == ["image", "scores"]
    assert [k.name for k in found.of_node("/head/Add")] == ["/head/MatMul_myl0_1", "__myl_AddCast_myl0_2"]
    assert found.source == "inspector"
    assert found.detailed


def test_what_an_engine_of_tensorrt_10_moves(golden):
    reformat, convolution, product, generated = read(golden, "inspector_10")
    assert reformat.conversion == (
        "fp32 Row major linear FP32 -> fp16 Channel major FP16 format where channel % 4 == 0"
    )
    assert reformat.bytes == 4 * 3 * 32 * 32 * (4 + 2)
    assert convolution.bytes == 4 * 32 * 32 * (3 + 8) * 2 + (216 + 8) * 2
    assert product.bytes is None  # TensorRT 10 does not show the weights of a GEMM
    assert generated.bytes == 4 * 10 * (2 + 4)


def test_types_that_are_not_said_for_dynamic_shapes_come_from_the_tactic(golden):
    found = read(golden, "inspector_10_dynamic")
    assert [(k.profile, k.precision) for k in found] == [(0, "int8"), (1, "fp16")]
    assert [k.inputs[0].dtype for k in found] == ["unknown", "unknown"]
    assert [k.bytes for k in found] == [None, None]


def test_a_node_has_to_run_as_asked_in_every_profile(golden):
    share = precision_share(read(golden, "inspector_10_dynamic"), {"/conv/Conv": "int8"}, {})
    assert share.not_honoured == {"/conv/Conv": ("int8", "fp16")}


def test_an_engine_of_tensorrt_11(golden):
    found = read(golden, "inspector_11")
    cast, attention = found
    assert (cast.role, cast.conversion) == ("reformat", "fp32 Linear -> fp16 Linear")
    assert (attention.role, attention.precision) == ("attention", "fp16")
    assert found.with_role("attention") == (attention,)
    assert attention.onnx_nodes == ("/attn/scores", "/attn/softmax", "/attn/values")
    assert found.tensors == (
        EngineTensor(
            "tokens", "input", "fp32", (-1, -1, 32), (((1, 8, 32), (4, 64, 32), (16, 128, 32)),),
            "Row major linear FP32 format (kLINEAR)",
        ),
        EngineTensor("mixed", "output", "fp16", (-1, -1, 32), (), "Row major linear FP16 format (kLINEAR)"),
    )  # fmt: skip


def test_an_engine_of_which_only_names_are_known():
    found = from_inspector(json.dumps({"Layers": ["/a/Conv + /b/Relu", "/c/Gemm"], "Bindings": ["x", "y"]}))
    assert found.layers == (
        EngineLayer("/a/Conv + /b/Relu", "", "unknown", ()), EngineLayer("/c/Gemm", "", "unknown", ()),
    )  # fmt: skip
    assert not found.detailed
    assert found.share_by_bytes().unknown == 2


@pytest.mark.parametrize("text", ["", "null", "[]", "No layers", '"Layers"'])
def test_a_text_without_layers_has_none(text):
    assert from_inspector(text) == EngineLayers()


@pytest.mark.parametrize(
    ("said", "dtype"),
    [
        ("Half", "fp16"), ("Half(64,1:8,8)", "fp16"), ("Row major linear FP16 format", "fp16"), ("Float", "fp32"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8"), ("BFloat16", "bf16"),
        ("Row major linear BF16 format", "bf16"), ("FP8", "fp8"), ("Int64", "int64"), ("Bool", "bool"),
        ("N/A due to dynamic shapes", "unknown"), ("", "unknown"), ("E8M0", "e8m0"), ("FP4E2M1", "fp4"),
    ],
)  # fmt: skip
def test_the_type_in_tensorrts_words(said, dtype):
    entry = {"Name": "k", "LayerType": "kgen", "Inputs": [{"Name": "x", "Dimensions": [2], "Format/Datatype": said}]}
    assert from_inspector(json.dumps({"Layers": [entry]}))[0].inputs[0].dtype == dtype
