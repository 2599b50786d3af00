import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import run
from onnx_text import parsed
from rewriting import apply, difference, holds

from trtbuild.rewriter.rules.function_body import OPS


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.booleans())
@settings(max_examples=15, deadline=None)
def test_attention(heads, queries, keys, causal):
    proto = parsed(
        f"g (float[2,{heads},{queries},4] q, float[2,{heads},{keys},4] k, float[2,{heads},{keys},4] v) "
        f"=> (float[2,{heads},{queries},4] y) {{ y = Attention <is_causal: int = {int(causal)}> (q, k, v) }}",
        opset=23,
    )
    after = holds(proto, "function_body")
    assert "Attention" not in after.ops


def test_attention_with_a_mask_and_without_what_is_left_out():
    proto = parsed(
        "g (float[b,s,8] q, float[b,s,8] k, float[b,s,8] v, float[s,s] mask) => (float[b,s,8] y) "
        "{ y = Attention <q_num_heads: int = 2, kv_num_heads: int = 2> (q, k, v, mask) }",
        opset=23,
    )
    after = apply(proto, "function_body")
    assert after.rules == ["function_body"]
    assert difference(proto, after.model, [{"b": 2, "s": 5}, {"b": 1, "s": 3}]) is None


@pytest.mark.parametrize("op", ["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(op, reduction):
    shape = "3,5" if reduction == "none" else ""
    declared = f"float[{shape}]" if shape else "float"
    proto = parsed(
        f'g (float[3,4,5] x, int64[3,5] t) => ({declared} y) {{ y = {op} <reduction: string = "{reduction}"> (x, t) }}'
    )
    after = holds(proto, "function_body")
    assert op not in after.ops


def test_a_normalisation_whose_statistics_are_read_is_expanded_and_no_other():
    text = "g (float[n,6] x) => (float[n,6] y{more}) <float[6] s = {{1,2,3,4,5,6}}> {{ y{made} = LayerNormalization (x, s) }}"
    one = parsed(text.format(more="", made=""), opset=17)
    all_three = parsed(text.format(more=", float[n,1] m, float[n,1] i", made=", m, i"), opset=17)
    assert holds(one, "function_body").rules == []
    assert "LayerNormalization" not in holds(all_three, "function_body").ops


def test_what_tensorrt_has_is_never_in_the_list():
    native = {"LayerNormalization", "Celu", "Clip"}  # under a condition only
    assert not set(OPS) - native & {
        "RMSNormalization",
        "Gelu",
        "Softmax",
        "GroupNormalization",
        "HardSwish",
        "Mish",
        "Elu",
    }


def test_int8_is_clipped_by_its_body_and_floats_are_not():
    for kind, rules in (("int8", ["function_body"]), ("float", [])):
        proto = parsed(
            f"g ({kind}[n] x) => ({kind}[n] y) <{kind} low = {{-2}}, {kind} high = {{3}}> {{ y = Clip (x, low, high) }}"
        )
        after = apply(proto, "function_body")
        assert after.rules == rules
        feed = {"x": np.array([-9, -2, 0, 3, 9], kind.replace("float", "float32"))}
        assert (run(after.model, feed)["y"] == run(proto, feed)["y"]).all()


def test_names_of_the_new_nodes_begin_with_the_old_one_and_are_all_different():
    proto = parsed(
        "g (float[2,2,3,4] q) => (float[2,2,3,4] y) { y = Attention <is_causal: int = 1> (q, q, q) }", opset=23
    )
    proto.graph.node[0].name = "encoder/attention"
    after = apply(proto, "function_body").model
    names = [n.name for n in after.graph.node]
    assert all(n.startswith("encoder/attention_") for n in names)
    assert len(set(names)) == len(names)
    onnx.checker.check_model(after, full_check=True)


@given(st.lists(st.integers(1, 7), min_size=2, max_size=2), st.lists(st.integers(1, 9), min_size=2, max_size=2))
@settings(max_examples=15, deadline=None)
def test_crop_and_pad(sizes, wanted):
    write = lambda v: ",".join(map(str, v))  # noqa: E731
    proto = parsed(
        f"g (float[{write(sizes)}] x) => (float[{write(wanted)}] y) <int64[2] s = {{{write(wanted)}}}> "
        "{ y = CenterCropPad (x, s) }"
    )
    assert "CenterCropPad" not in holds(proto, "function_body", "constant_nodes").ops


GUARDS = {}
