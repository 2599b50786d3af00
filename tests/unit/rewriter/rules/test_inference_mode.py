import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_models import model, node, ops, random_feed, run, save, tensor, weights

from trtbuild.rewriter import rewrite

TRAINING = {"ratio": np.float32(0.5), "training": np.array(True)}
STATISTICS = {"s": weights(4, 2), "o": weights(4, 3), "m": weights(4, 4), "v": np.abs(weights(4, 5)) + 0.5}


def apply(proto, tmp_path):
    done = rewrite(save(proto, tmp_path / "in.onnx"), tmp_path, only=["inference_mode"])
    (tmp_path / "again").mkdir()
    again = rewrite(done.model, tmp_path / "again", only=["inference_mode"])
    assert again.model.sha256 == done.model.sha256, "a second run changes nothing"
    return done, onnx.load(str(done.model.path))


def dropout(before=True, after=True, outputs=("d",), graph_outputs=("y",), training=True):
    source, result = ("a" if before else "x"), ("d" if after else "y")
    nodes = [node("Neg", ["x"], ["a"], "neg")] if before else []
    nodes.append(node("Dropout", [source, "ratio", "training"], [result, *outputs[1:]], "drop"))
    nodes += [node("Relu", ["d"], ["y"], "relu")] if after else []
    kinds = [tensor(o, ["n", 4], TensorProto.BOOL if o == "mask" else TensorProto.FLOAT) for o in graph_outputs]
    return model(nodes, [("x", ["n", 4])], kinds, TRAINING | {"training": np.array(training)})


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        (True, True, ["Neg", "Relu"]),
        (True, False, ["Neg"]),
        (False, True, ["Relu"]),
        (False, False, ["Identity"]),
    ],
)
def test_dropout_is_the_identity_at_inference(before, after, left, tmp_path):
    proto = dropout(before, after)
    done, result = apply(proto, tmp_path)
    assert [(e.rule, e.node) for e in done.applied] == [("inference_mode", "drop")]
    assert ops(result) == left
    feed = random_feed(proto)
    expected = -feed["x"] if before else feed["x"]
    expected = np.maximum(expected, 0) if after else expected
    assert (run(result, feed)["y"] == expected).all()


def test_an_unused_mask_goes_with_it(tmp_path):
    _done, after = apply(dropout(outputs=("d", "mask")), tmp_path)
    assert ops(after) == ["Neg", "Relu"]


def test_a_tensor_that_is_handed_out_beside_the_dropout_keeps_its_name(tmp_path):
    nodes = [node("Neg", ["x"], ["a"], "neg"), node("Dropout", ["a"], ["y"], "drop")]
    proto = model(nodes, [("x", ["n", 4])], [("a", ["n", 4]), ("y", ["n", 4])])
    _done, after = apply(proto, tmp_path)
    feed = random_feed(proto)
    got = run(after, feed)
    assert (got["a"] == -feed["x"]).all()
    assert (got["y"] == -feed["x"]).all()


def test_a_source_with_several_readers_stays_right(tmp_path):
    nodes = [
        node("Neg", ["x"], ["a"], "neg"),
        node("Dropout", ["a"], ["y"], "drop"),
        node("Add", ["a", "a"], ["z"], "twice"),
    ]
    proto = model(nodes, [("x", ["n", 4])], [("y", ["n", 4]), ("z", ["n", 4])])
    _done, after = apply(proto, tmp_path)
    feed = random_feed(proto)
    got = run(after, feed)
    assert (got["z"] == -2 * feed["x"]).all()
    assert ops(after) == ["Neg", "Add"]


def test_declines_where_the_mask_is_used(tmp_path):
    proto = dropout(outputs=("d", "mask"), graph_outputs=("y", "mask"))
    done, after = apply(proto, tmp_path)
    assert [(d.rule, d.node, d.reason) for d in done.declined] == [
        ("inference_mode", "drop", "its second output is used")
    ]
    assert "Dropout" in ops(after)


def norm(outputs=("y", "rm", "rv"), graph_outputs=("y",), training=1):
    reads = ["x", "s", "o", "m", "v"]
    nodes = [node("BatchNormalization", reads, list(outputs), "bn", training_mode=training, epsilon=0.01)]
    return model(
        nodes, [("x", ["n", 4, 3])], [(o, ["n", 4, 3] if o == "y" else [4]) for o in graph_outputs], STATISTICS
    )


def test_batch_normalization_takes_the_running_statistics(tmp_path):
    done, after = apply(norm(), tmp_path)
    assert [(e.rule, e.node) for e in done.applied] == [("inference_mode", "bn")]
    feed = random_feed(norm())
    s, o, m, v = (STATISTICS[k][:, None] for k in "somv")
    assert np.allclose(run(after, feed)["y"], (feed["x"] - m) / np.sqrt(v + 0.01) * s + o, atol=1e-5)
    assert list(after.graph.node[0].output) == ["y"]


def test_batch_normalization_at_inference_is_left_alone(tmp_path):
    done, _after = apply(norm(outputs=("y",), training=0), tmp_path)
    assert done.applied == done.declined == ()


def test_declines_where_the_batchs_statistics_are_used(tmp_path):
    done, _after = apply(norm(graph_outputs=("y", "rm")), tmp_path)
    assert [d.reason for d in done.declined] == ["its second output is used"]


GUARDS = {
    "its second output is used": lambda: dropout(outputs=("d", "mask"), graph_outputs=("y", "mask"), training=False),
}
