import pytest
from onnx_models import mlp, model, node, weights

from trtbuild.errors import SpecError
from trtbuild.precision.overrides import resolve_overrides
from trtbuild.quantization import place

NAMES = ["/layer.0/attention/query", "/layer.0/attention/output", "/layer.0/ffn", "/layer.1/attention/query"]


def network():
    """Four MatMuls in a row, and one of two activations."""
    nodes = [node("MatMul", ["x" if not i else f"h{i}", f"w{i}"], [f"h{i + 1}"], name) for i, name in enumerate(NAMES)]
    nodes.append(node("MatMul", ["h4", "h4"], ["y"], "/scores"))
    return model(nodes, [("x", [4, 4])], [("y", [4, 4])], {f"w{i}": weights((4, 4), i) for i in range(4)})


def resolve(patterns):
    return resolve_overrides(patterns, [*NAMES, "/scores"], place(network()))


def test_a_pattern_names_every_node_that_it_matches():
    assert resolve({"*/attention/*": "fp16"}) == {NAMES[0]: "fp16", NAMES[1]: "fp16", NAMES[3]: "fp16"}
    assert resolve({"/layer.[1-9]/*": "fp16"}) == {NAMES[3]: "fp16"}


def test_the_last_pattern_that_matches_counts():
    assert resolve({"*": "fp16", "*/ffn": "int8"})[NAMES[2]] == "int8"
    assert resolve({"*/ffn": "int8", "*": "fp16"})[NAMES[2]] == "fp16"


def test_a_quantised_format_passes_over_what_cannot_have_one():
    assert list(resolve({"*": "int8"})) == NAMES


def test_a_pattern_without_a_node_is_an_error_with_the_nearest_name():
    with pytest.raises(SpecError) as caught:
        resolve({"/layer.0/atention/query": "fp16"})
    assert "did you mean '/layer.0/attention/query'" in str(caught.value)
    with pytest.raises(SpecError, match="no node is called"):
        resolve({"*/Attention/*": "fp16"})  # case matters


def test_int8_where_it_cannot_be_is_an_error_with_the_reason():
    with pytest.raises(SpecError, match="a product of two activations"):
        resolve({"/scores": "int8"})


def test_no_patterns_ask_for_nothing():
    assert resolve_overrides({}, ["fc1"], place(mlp())) == {}
