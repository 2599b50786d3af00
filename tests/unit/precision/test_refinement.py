import numpy as np
import pytest
from onnx_models import model, node, run, save, weights

from trtbuild.artifacts import ChannelRange
from trtbuild.calibration import calibrate
from trtbuild.content import feed_digest
from trtbuild.errors import UsageError
from trtbuild.feeds import Sample
from trtbuild.precision.refining.bias_correction import correct_biases
from trtbuild.precision.refining.refinement import REFINEMENTS, refine
from trtbuild.quantization import place, write_qdq

IMAGE = [("x", ["n", 4, 3, 3])]
W, K = weights((4, 6), 1), weights((6, 4, 2, 2), 1)
TAKES = {
    "Conv": (IMAGE, [node("Conv", ["x", "w"], ["y"], "m")], {"w": K}),
    "Conv with a bias": (IMAGE, [node("Conv", ["x", "w", "b"], ["y"], "m")], {"w": K, "b": weights(6, 2)}),
    "Conv in groups": (IMAGE, [node("Conv", ["x", "w"], ["y"], "m", group=2)], {"w": weights((6, 2, 2, 2), 1)}),
    "depthwise Conv": (IMAGE, [node("Conv", ["x", "w"], ["y"], "m", group=4)], {"w": weights((4, 1, 2, 2), 1)}),
    "ConvTranspose": (
        IMAGE,
        [node("ConvTranspose", ["x", "w"], ["y"], "m", strides=[1, 1])],
        {"w": weights((4, 6, 1, 1), 1)},
    ),
    "Gemm": ([("x", ["n", 4])], [node("Gemm", ["x", "w", "b"], ["y"], "m")], {"w": W, "b": weights(6, 2)}),
    "Gemm with attributes": (
        [("x", ["n", 4])],
        [node("Gemm", ["x", "w", "b"], ["y"], "m", alpha=2.0, beta=3.0, transB=1)],
        {"w": W.T.copy(), "b": weights((1, 6), 2)},
    ),
    "Gemm without a bias": ([("x", ["n", 4])], [node("Gemm", ["x", "w"], ["y"], "m")], {"w": W}),
    "MatMul and Add": (
        [("x", ["n", 2, 4])],
        [node("MatMul", ["x", "w"], ["a"], "m"), node("Add", ["b", "a"], ["y"])],
        {"w": W, "b": weights(6, 2)},
    ),
    "MatMul, Split and Adds": (
        [("x", ["n", 2, 4])],
        [
            node("MatMul", ["x", "w"], ["a"], "m"),
            node("Split", ["a", "sizes"], ["s", "t"], axis=-1),
            node("Add", ["s", "b"], ["s1"]),
            node("Add", ["t", "c"], ["t1"]),
            node("Concat", ["s1", "t1"], ["y"], axis=-1),
        ],
        {"w": W, "b": weights(2, 2), "c": weights(4, 3), "sizes": np.array([2, 4])},
    ),
}


def built(name):
    inputs, nodes, constants = TAKES[name]
    return model(nodes, inputs, [("y", None)], constants)


def constant_feed(proto):
    """Every channel holds one whole number: INT8 with a scale of 1 holds it exactly."""
    shape = [d.dim_value or 3 for d in proto.graph.input[0].type.tensor_type.shape.dim]
    channels = np.array([120, -3, 77, 40], "f")
    return np.broadcast_to(channels.reshape((4, 1, 1) if len(shape) == 4 else (4,)), shape).astype("f"), channels


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", TAKES)
def test_the_mean_error_of_rounded_weights_is_gone(name, clip):
    proto = built(name)
    x, channels = constant_feed(proto)
    placement = place(proto)
    seen = {"x": ChannelRange(1 if x.ndim == 4 else -1, tuple(np.abs(channels).tolist()), tuple(channels.tolist()))}
    result = correct_biases(proto, placement, seen, clip_weights=clip)
    assert (result.corrected, result.declined) == (("m",), {})
    want = run(proto, {"x": x})["y"]
    without, corrected = (
        run(write_qdq(m, placement, {"x": 127.0}, clip_weights=clip), {"x": x})["y"] for m in (proto, result.model)
    )
    assert np.abs(without - want).max() > 0.05
    np.testing.assert_allclose(corrected, want, rtol=0, atol=2e-4)


def test_the_model_given_is_left_as_it_is():
    proto = built("Conv with a bias")
    before = proto.SerializeToString(deterministic=True)
    correct_biases(proto, place(proto), {"x": ChannelRange(1, (1,) * 4, (1,) * 4)})
    assert proto.SerializeToString(deterministic=True) == before


DECLINES = {
    "no Add of a constant follows it": [node("MatMul", ["x", "w"], ["a"], "m"), node("Relu", ["a"], ["y"])],
    "its bias is no constant": [node("Relu", ["b"], ["c"]), node("Gemm", ["x", "w", "c"], ["y"], "m")],
    "its bias does not count": [node("Gemm", ["x", "w", "b"], ["y"], "m", beta=0.0)],
}


@pytest.mark.parametrize("reason", DECLINES)
def test_where_no_bias_is_to_be_had_the_node_is_left_alone(reason):
    proto = model(DECLINES[reason], [("x", ["n", 4])], [("y", ["n", 6])], {"w": W, "b": weights(6, 2)})
    result = correct_biases(proto, place(proto), {"x": ChannelRange(-1, (1,) * 4, (1,) * 4)})
    assert dict(result.declined) == {"m": reason}
    assert result.model == proto


def test_two_readers_of_the_product_both_need_the_bias():
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "m"),
        node("Add", ["a", "b"], ["c"]),
        node("Exp", ["a"], ["e"]),
        node("Mul", ["c", "e"], ["y"]),
    ]
    proto = model(nodes, [("x", ["n", 4])], [("y", ["n", 6])], {"w": W, "b": weights(6, 2)})
    seen = {"x": ChannelRange(-1, (1,) * 4, (1,) * 4)}
    assert "no Add" in correct_biases(proto, place(proto), seen).declined["m"]


def test_a_table_without_means_corrects_nothing():
    proto = built("Gemm")
    assert "not measured" in correct_biases(proto, place(proto), {}).declined["m"]


def biased(mean, seed=0, rows=256):
    """Rows whose channels have a mean far from zero."""
    x = np.random.default_rng(seed).normal(mean, 0.2, (rows, 16)).astype("f")
    return {"x": x}


@pytest.fixture
def layer(tmp_path):
    proto = model(
        [node("Gemm", ["x", "w", "b"], ["y"], "m")],
        [("x", ["n", 16])],
        [("y", ["n", 4])],
        {"w": weights((16, 4), 4), "b": -5 * weights((16, 4), 4).sum(axis=0)},
    )
    return proto, calibrate(save(proto, tmp_path / "m.onnx"), [biased(5.0)], method="minmax")


def judging(feed):
    return [Sample(feed, None, feed_digest(feed))]


def test_a_biased_input_makes_bias_correction_worth_it(layer):
    proto, table = layer
    result = refine(proto, place(proto), table, judging(biased(5.0, seed=1)), refinements=("bias_correction",))
    (tried,) = result.tried
    assert (tried.name, tried.kept, result.judged_on) == ("bias_correction", True, 256)
    assert tried.after_db > tried.before_db + 3
    assert tried.change == "corrects the bias of 1 of 1 quantised nodes"
    assert result.model != proto


def test_where_the_judging_rows_differ_it_is_not_kept(layer):
    proto, table = layer
    result = refine(proto, place(proto), table, judging(biased(-5.0, seed=1)), refinements=("bias_correction",))
    assert not result.tried[0].kept
    assert result.tried[0].after_db < result.tried[0].before_db
    assert result.model is proto


def test_weight_clipping_is_kept_where_it_helps(tmp_path):
    """One weight a column sets the scale, and its input is small; all others lie between two INT8 numbers."""
    w = np.full((512, 4), 10.5 / 127, "f") * np.sign(weights((512, 4), 3))
    w[0] = 1.0
    proto = model([node("Gemm", ["x", "w"], ["y"], "m")], [("x", ["n", 512])], [("y", ["n", 4])], {"w": w})
    x = np.random.default_rng(0).normal(size=(64, 512)).astype("f")
    x[:, 0] *= 0.01
    table = calibrate(save(proto, tmp_path / "m.onnx"), [{"x": x}], method="minmax")
    result = refine(proto, place(proto), table, judging({"x": x}), refinements=("weight_clipping",))
    (tried,) = result.tried
    assert tried.kept
    assert result.clip_weights
    assert tried.after_db > tried.before_db + 1


def test_weight_clipping_that_changes_nothing_is_not_kept(layer):
    proto, table = layer
    result = refine(proto, place(proto), table, judging(biased(5.0)), refinements=("weight_clipping",))
    assert (result.tried[0].kept, result.clip_weights) == (False, False)


@pytest.mark.parametrize("chosen", [(), ("weight_clipping",), ("weight_rounding",), ("bias_correction",), REFINEMENTS])
def test_each_can_be_turned_off(layer, chosen):
    proto, table = layer
    judge, fit = judging(biased(5.0)), judging(biased(5.0, seed=1))
    assert tuple(t.name for t in refine(proto, place(proto), table, judge, fit=fit, refinements=chosen).tried) == chosen


def test_a_wrong_name_is_told(layer):
    proto, table = layer
    with pytest.raises(UsageError, match="there is no refinement 'bias'"):
        refine(proto, place(proto), table, [], refinements=("bias",))
