import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from onnx_models import model, node, run, tensor, weights
from rewriting import apply, holds


def rotary(*, rank=4, heads=3, size=8, part=0, positions=False, interleaved=0, batch="batch", inside=False):
    turned = part or size
    x = ["batch", heads, "seq", size] if rank == 4 else ["batch", "seq", heads * size]
    inputs = [("x", x)]
    fixed = {}
    if positions:
        fixed = {"cos": weights((9, turned // 2), 1), "sin": weights((9, turned // 2), 2), "nine": np.array(9)}
        inputs.append(tensor("numbers", ["batch", "seq"], TensorProto.INT64))
    else:
        inputs += [("cos", [batch, "seq", turned // 2]), ("sin", [batch, "seq", turned // 2])]
    attributes = {"num_heads": heads} if rank == 3 else {}
    if part:
        attributes["rotary_embedding_dim"] = part
    turn = node(
        "RotaryEmbedding", ["x", "cos", "sin", *(["ids"] if positions else [])], ["y"], "turn",
        interleaved=interleaved, **attributes,
    )  # fmt: skip
    nodes = [node("Mod", ["numbers", "nine"], ["ids"])] if positions else []
    extra = [node("Relu", ["y"], ["z"])] if inside else []
    return model([*nodes, turn, *extra], inputs, [("z" if inside else "y", x)], fixed, opset=23, ir=11)


@settings(max_examples=40, deadline=None)
@given(
    rank=st.sampled_from([3, 4]),
    heads=st.sampled_from([1, 3]),
    sizes=st.sampled_from([(8, 0), (8, 8), (8, 4), (6, 2), (2, 0)]),
    positions=st.booleans(),
    interleaved=st.sampled_from([0, 1]),
    inside=st.booleans(),
)
def test_every_form_is_written_out(rank, heads, sizes, positions, interleaved, inside):
    proto = rotary(
        rank=rank, heads=heads, size=sizes[0], part=sizes[1], positions=positions, interleaved=interleaved,
        inside=inside,
    )  # fmt: skip
    after = holds(proto, "rotary_embedding")
    assert "RotaryEmbedding" not in after.ops


def test_caches_of_one_batch_serve_all():
    proto = rotary(batch=1)
    after = apply(proto, "rotary_embedding")
    feed = {"x": weights((4, 3, 5, 8)), "cos": weights((1, 5, 4), 1), "sin": weights((1, 5, 4), 2)}
    (wanted,) = ReferenceEvaluator(proto).run(None, feed)
    assert np.allclose(run(after.model, feed)["y"], wanted, atol=1e-6)


def _size_not_known():
    proto = rotary()
    proto.graph.input[0].CopyFrom(tensor("h", ["batch", 3, "seq", "half"]))
    proto.graph.input[1].CopyFrom(tensor("cos", ["batch", "seq", "half"]))
    proto.graph.input[2].CopyFrom(tensor("sin", ["batch", "seq", "half"]))
    proto.graph.output[0].CopyFrom(tensor("y", ["batch", 3, "seq", None]))
    proto.graph.node.insert(0, node("Concat", ["h", "h"], ["x"], axis=-1))
    return proto


GUARDS = {"the size of a head is not known": _size_not_known}
