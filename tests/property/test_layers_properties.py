"""What was written in TensorRT's form is read back, whatever names it holds; and anything can be read."""

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from trtbuild.artifacts import EngineLayer, EngineLayers, LayerTensor, from_json, to_json
from trtbuild.engine.layers import from_inspector, from_log, precision_share

pieces = st.sampled_from(
    ["Name: ", ", LayerType: ", ", Inputs: ", ", Constants: ", ", Outputs: ", ", Metadata: ", "[ONNX Layer: ", "]",
     "Datatype: ", "Half", "Int8", "Int4", "Float", "Layers:", "I/O Tensors:", "\n", ", ", "{", "a"]
)  # fmt: skip
words = st.sampled_from(["int8", "int4", "int8_weights", "fp16", "fp32", "other", "unknown"])
nodes = st.sampled_from("abcd")
layers = st.builds(
    EngineLayer,
    st.text(max_size=4),
    st.sampled_from(["gemm", "kgen", ""]),
    words,
    st.lists(nodes, max_size=3).map(tuple),
)

WORDS = {
    "int8": "Int8",
    "fp16": "Half",
    "fp32": "Float",
    "int4": "Int4",
    "fp8": "FP8",
    "bool": "Bool",
    "int64": "Int64",
}
hostile = st.lists(
    st.sampled_from(["Name: ", ", ", "[", "]", "{ ", " }", "Dimensions: [1]", "Datatype: Half", "/a/Conv", " + ", "é", '"',
                     "\\", "LayerType: gemm", "Metadata: ", "\n", "[ONNX Layer", "x" * 40]),
    min_size=1, max_size=3,
).map("".join).filter(lambda name: "\nName: " not in name)  # fmt: skip
"""Names that a model may have: anything, as long as it is not the whole head of a layer or of a section."""

tensors = st.builds(
    LayerTensor,
    hostile,
    st.sampled_from(sorted(WORDS)),
    st.lists(st.integers(-1, 300), min_size=1, max_size=5).map(tuple),
    st.sampled_from(["(Linear) Row major linear format", "(Arbitrary) Format with stride order = [1,2,0]"]),
)
some_tensors = st.lists(tensors, max_size=2).map(tuple)
whole_layers = st.builds(
    EngineLayer,
    hostile.filter(lambda name: name == name.strip("\n")),
    st.sampled_from(["gemm", "correlation", "kgen", "runtime_fusion"]),
    st.just(""),
    st.lists(hostile.filter(lambda n: not n.endswith("]") and "\n" not in n), max_size=3, unique=True).map(tuple),
    some_tensors,
    some_tensors,
    some_tensors,
    st.sampled_from(["", "__myelin_CASK_STUB", "__myl_MulAdd_0x12ab"]),
    st.integers(0, 3),
)


def in_log(layer):
    """A layer as TensorRT-RTX's log has it."""

    def listed(tensors):
        entries = [
            f"{{ Name: {t.name}, Dimensions: {numbers(t.dims)}, Strides: {numbers(t.dims)}, "
            f"StrideOrder: {numbers(range(len(t.dims)))}, Datatype: {WORDS[t.dtype]}, Format: {t.format} }}"
            for t in tensors
        ]
        return f"[ {', '.join(entries)}]" if entries else "[]"

    return (
        f"Name: {layer.name}, LayerType: {layer.kind}, Inputs: {listed(layer.inputs)}, "
        f"Constants: {listed(layer.constants)}, Outputs: {listed(layer.outputs)}, TacticName: {layer.tactic}, "
        f"StreamId: {layer.stream}, Metadata: {''.join(f'[ONNX Layer: {n}]' for n in layer.onnx_nodes)}"
    )


def in_json(layer):
    """A layer as the inspector of TensorRT has it."""

    def listed(tensors):
        return [
            {"Name": t.name, "Dimensions": list(t.dims), "Datatype": WORDS[t.dtype], "Format": t.format}
            for t in tensors
        ]

    return {
        "Name": layer.name, "LayerType": layer.kind, "Inputs": listed(layer.inputs),
        "Constants": listed(layer.constants), "Outputs": listed(layer.outputs), "TacticName": layer.tactic,
        "StreamId": layer.stream, "Metadata": "\x1f".join(f"[ONNX Layer: {n}]" for n in layer.onnx_nodes),
    }  # fmt: skip


def numbers(values):
    return f"[{','.join(map(str, values))}]"


def same(read, written):
    assert [(k.name, k.kind, k.onnx_nodes, k.inputs, k.outputs, k.constants, k.tactic, k.stream) for k in read] == [
        (k.name, k.kind, k.onnx_nodes, k.inputs, k.outputs, k.constants, k.tactic, k.stream) for k in written
    ]


@settings(max_examples=30)
@given(st.lists(whole_layers, max_size=3))
def test_a_log_is_read_as_it_was_written(written):
    same(from_log("Layers:\n" + "\n".join(map(in_log, written)) + "\n\nI/O Tensors:\n"), written)


@settings(max_examples=30)
@given(st.lists(whole_layers, max_size=3))
def test_the_inspectors_json_is_read_as_it_was_written(written):
    same(from_inspector(json.dumps({"Layers": [in_json(layer) for layer in written], "I/O Tensors": []})), written)


@settings(max_examples=20)
@given(st.lists(whole_layers, max_size=3).map(lambda found: EngineLayers(tuple(found), (), "build log", ("gone",))))
def test_kernels_come_back_from_json(kernels):
    assert from_json(EngineLayers, json.loads(json.dumps(to_json(kernels)))) == kernels


@settings(max_examples=30)
@given(st.lists(whole_layers, max_size=3))
def test_every_kernel_has_a_role_and_shares_add_up(written):
    kernels = from_log("Layers:\n" + "\n".join(map(in_log, written)))
    roles = ("matrix", "attention", "generated", "reformat", "other")
    assert sum(len(kernels.with_role(role)) for role in roles) == len(kernels)
    share = kernels.share_by_bytes()
    assert share.unknown == sum(k.bytes is None for k in kernels)
    assert math.isclose(sum(share.shares.values()), 1 if share.total else 0)
    assert list(share.shares.values()) == sorted(share.shares.values(), reverse=True)
    assert share.total == sum(k.bytes or 0 for k in kernels)


@given(st.text() | st.lists(pieces | st.text(max_size=5)).map("".join))
def test_any_log_can_be_read(text):
    for layer in from_log(text):
        assert isinstance(layer.name, str)
        assert layer.precision in {"int4", "fp4", "int8", "fp8", "int8_weights", "fp16", "bf16", "fp32", "other"}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["Layers", "Name", "Inputs", "Outputs", "Dimensions", "Metadata", "Weights", "Type", "Count",
                         "I/O Tensors", "Bindings", "ProfileInfo", "OptShape", "StreamId", "Format/Datatype"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=50)
@given(st.lists(values, max_size=3), st.lists(values, max_size=3))
def test_any_json_can_be_read(kernels, io):
    found = from_inspector(json.dumps({"Layers": kernels, "I/O Tensors": io}))
    assert len(found) == len(kernels)
    for layer in found:
        assert layer.bytes is None or layer.bytes >= 0


@given(
    st.lists(layers, max_size=6),
    st.dictionaries(nodes, st.sampled_from(["int8", "fp16", "fp32"])),
    st.dictionaries(nodes, st.integers(1, 10**9)),
)
def test_shares_add_up_and_every_node_is_spoken_for(kernels, assignment, macs):
    found = precision_share(kernels, assignment, macs)
    assert set(found.nodes) == set(assignment)
    assert abs(sum(found.shares.values()) - (1 if assignment else 0)) < 1e-9
    assert set(found.not_honoured) == {n for n in assignment if found.nodes[n] != assignment[n]}
