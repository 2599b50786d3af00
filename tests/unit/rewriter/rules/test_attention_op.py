import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model, node, run, tensor, weights
from rewriting import apply, holds


def attention(
    *, heads=2, key_heads=None, size=4, value_size=None, queries="queries", keys="keys", rank=4, mask=None,
    mask_shape=("queries", "keys"), past=False, outputs=("y",), inputs=(), opset=23, kind=TensorProto.FLOAT,
    extra=(), **attributes,
):  # fmt: skip
    """One Attention on graph inputs; ``mask`` is an ONNX type, an array, or None for none."""
    key_heads, value_size = key_heads or heads, value_size or size
    if rank == 4:
        shapes = [
            ["batch", heads, queries, size],
            ["batch", key_heads, keys, size],
            ["batch", key_heads, keys, value_size],
        ]
        out = ["batch", heads, queries, value_size]
    else:
        shapes = [
            ["batch", queries, heads * size],
            ["batch", keys, key_heads * size],
            ["batch", keys, key_heads * value_size],
        ]
        out = ["batch", queries, heads * value_size]
        attributes |= {"q_num_heads": heads, "kv_num_heads": key_heads}
    reads, given_inputs, fixed = ["q", "k", "v"], [tensor(n, s, kind) for n, s in zip("qkv", shapes, strict=True)], {}
    if isinstance(mask, np.ndarray):
        fixed["m"] = mask
    elif mask is not None:
        given_inputs.append(tensor("m", list(mask_shape), mask))
    if past:
        given_inputs += [
            tensor(f"past_{n}", ["batch", key_heads, "past", s]) for n, s in (("k", size), ("v", value_size))
        ]
    reads += ["m" if mask is not None else "", *(["past_k", "past_v"] if past else ["", ""]), *inputs]
    while not reads[-1]:
        reads.pop()
    makes = {
        "y": out,
        "z": None,
        "present_k": ["batch", key_heads, None, size],
        "present_v": ["batch", key_heads, None, value_size],
    }
    nodes = [
        node(
            "Attention",
            reads,
            [o if o in outputs else "" for o in ("y", "present_k", "present_v")],
            "attn",
            **attributes,
        )
    ]
    nodes[0].output[:] = list(outputs) if outputs != ("y", "present_k", "present_v") else nodes[0].output
    return model(
        [*nodes, *extra], given_inputs, [tensor(o, makes.get(o), kind) for o in outputs if o], fixed, opset=opset, ir=11
    )


@settings(max_examples=40, deadline=None)
@given(
    rank=st.sampled_from([3, 4]),
    groups=st.sampled_from([1, 2, 3]),
    key_heads=st.sampled_from([1, 2]),
    sizes=st.tuples(st.sampled_from([2, 5]), st.sampled_from([2, 3])),
    lengths=st.sampled_from([("queries", "keys"), (4, 4), (3, 6), ("queries", 4)]),
    mask=st.sampled_from([None, TensorProto.BOOL, TensorProto.FLOAT]),
    mask_rank=st.sampled_from([2, 3, 4]),
    causal=st.booleans(),
    scale=st.sampled_from([None, 1.0, 0.3]),
    softcap=st.sampled_from([0.0, 1.5]),
)  # fmt: skip
def test_every_form_is_written_out(rank, groups, key_heads, sizes, lengths, mask, mask_rank, causal, scale, softcap):
    heads = key_heads * groups
    shape = ("batch", heads, *lengths)[-mask_rank:]
    options = {"scale": scale} if scale is not None else {}
    proto = attention(
        heads=heads, key_heads=key_heads, size=sizes[0], value_size=sizes[1], queries=lengths[0], keys=lengths[1],
        rank=rank, mask=mask, mask_shape=shape, is_causal=int(causal), softcap=softcap, **options,
    )  # fmt: skip
    after = holds(proto, "attention_op")
    assert "Attention" not in after.ops
    assert after.ops.count("Softmax") == 1


@settings(max_examples=15, deadline=None)
@given(
    rank=st.sampled_from([3, 4]),
    groups=st.sampled_from([1, 2]),
    causal=st.booleans(),
    mask=st.sampled_from([None, TensorProto.BOOL]),
)
def test_past_keys_and_values_come_first(rank, groups, causal, mask):
    proto = attention(
        heads=2 * groups, key_heads=2, rank=rank, past=True, is_causal=int(causal),
        outputs=("y", "present_k", "present_v"),
        queries=3, keys=3, mask=mask, mask_shape=(3, "total"),
    )  # fmt: skip
    after = holds(
        proto, "attention_op", sizes=[{"batch": 2, "past": 4, "total": 7}, {"batch": 1, "past": 1, "total": 4}]
    )
    assert "Attention" not in after.ops


def test_a_row_that_is_masked_throughout_gives_zeros():
    mask = np.array([[False] * 4, [True, False, False, True], [False] * 4, [True] * 4])
    proto = attention(mask=TensorProto.BOOL, queries=4, keys=4, mask_shape=(4, 4))
    after = holds(proto, "attention_op")
    feed = {n: weights((1, 2, 4, 4), i) for i, n in enumerate("qkv")} | {"m": mask}
    wanted, got = run(proto, feed)["y"], run(after.model, feed)["y"]
    assert (got[:, :, [0, 2]] == 0).all()
    assert np.allclose(wanted, got, atol=1e-6)


@pytest.mark.parametrize("dead", [False, True])
def test_a_constant_mask_is_guarded_only_where_it_masks_a_row_throughout(dead):
    mask = np.tri(4, dtype=bool)
    mask[1] = not dead
    after = holds(attention(mask=mask, queries=4, keys=4), "attention_op")
    assert ("IsNaN" in after.ops) is dead


def test_a_mask_is_made_additive_once_for_all_that_read_it():
    more = [
        node("Attention", ["y", "k", "v", "m"], ["a"], "second"),
        node("Attention", ["a", "k", "v", "m"], ["z"], "third"),
    ]
    proto = attention(mask=TensorProto.BOOL, outputs=("y",), extra=more)
    proto.graph.output.append(tensor("z", ["batch", 2, "queries", 4]))
    after = holds(proto, "attention_op")
    assert after.ops.count("Log") == 1
    assert after.ops.count("Softmax") == 3


def test_results_inside_the_graph_keep_their_names():
    proto = attention(extra=[node("Relu", ["y"], ["z"], "relu")], outputs=("y",))
    proto.graph.output.append(tensor("z", ["batch", 2, "queries", 4]))
    after = holds(proto, "attention_op")
    assert [n.op_type for n in after.model.graph.node if "y" in n.output] == ["MatMul"]


def test_half_precision_stays_half_and_softmax_precision_is_kept():
    proto = attention(kind=TensorProto.FLOAT16, softmax_precision=TensorProto.FLOAT)
    after = apply(proto, "attention_op")
    onnx.checker.check_model(after.model, full_check=True)
    casts = [a.i for n in after.model.graph.node if n.op_type == "Cast" for a in n.attribute]
    assert casts == [TensorProto.FLOAT, TensorProto.FLOAT16]


def test_the_same_softmax_precision_needs_no_cast():
    assert "Cast" not in holds(attention(softmax_precision=TensorProto.FLOAT), "attention_op").ops


def test_opset_24_takes_a_mask_as_long_as_the_keys():
    proto = attention(mask=TensorProto.BOOL, mask_shape=(1, "keys"), opset=24)
    assert "Attention" not in holds(proto, "attention_op").ops


def test_opset_24_declines_a_mask_that_may_be_shorter_than_the_keys():
    after = apply(attention(mask=TensorProto.BOOL, mask_shape=(1, "some"), opset=24), "attention_op")
    assert after.reasons == ["the mask may be shorter than the keys"]


def test_the_scale_of_one_makes_no_node():
    assert holds(attention(scale=1.0), "attention_op").ops == ["Transpose", "MatMul", "Softmax", "MatMul"]


def _unknown_type():
    """Q from an operator that ONNX does not know."""
    proto = attention(queries=3, keys=3)
    proto.graph.input[0].name = "x"
    proto.graph.node.insert(0, helper.make_node("QuickGelu", ["x"], ["q"], "gelu", domain="com.microsoft"))
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


def _with_counts():
    proto = attention(opset=24, queries=3, keys=3, inputs=("counts",))
    proto.graph.input[0].CopyFrom(tensor("q", [2, 2, 3, 4]))
    proto.graph.input[1].CopyFrom(tensor("k", [2, 2, 3, 4]))
    proto.graph.input[2].CopyFrom(tensor("v", [2, 2, 3, 4]))
    proto.graph.output[0].CopyFrom(tensor("y", [2, 2, 3, 4]))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 2]), "counts"))
    return proto


def _scores_read():
    proto = attention(queries=3, keys=3)
    proto.graph.node[0].output.extend(["", "", "scores"])
    proto.graph.output.append(tensor("scores", ["batch", 2, 3, 3]))
    return proto


GUARDS = {
    "the rank of its inputs is not known, or their type is not a float that NumPy has": _unknown_type,
    "the scores are read": _scores_read,
    "the keys that count are given by nonpad_kv_seqlen": _with_counts,
    "the number of heads is not known": lambda: attention(heads="h", key_heads=1),
    "the size of a head is not known": lambda: attention(size="size"),
    "the mask is neither of truth values nor to be added": lambda: attention(
        mask=np.ones((3, 3), np.int64), queries=3, keys=3
    ),
}
