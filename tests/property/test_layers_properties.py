from hypothesis import given
from hypothesis import strategies as st

from trtbuild.artifacts import EngineLayer
from trtbuild.engine.layers import from_log, precision_share

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


@given(st.text() | st.lists(pieces | st.text(max_size=5)).map("".join))
def test_any_log_can_be_read(text):
    for layer in from_log(text):
        assert isinstance(layer.name, str)
        assert layer.precision in {"int4", "fp4", "int8", "fp8", "int8_weights", "fp16", "bf16", "fp32", "other"}


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
