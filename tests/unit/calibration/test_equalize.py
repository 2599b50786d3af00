import numpy as np
import pytest
from onnx_models import cnn, matmul, mlp, model, node, random_feed, run, save, weights

from trtbuild import onnxfile
from trtbuild.calibration.equalization import DEFAULT, TRANSFORMS, equalize
from trtbuild.errors import FeedError, UsageError
from trtbuild.feeds import Samples
from trtbuild.quantization import place

FREE = ("smoothing",)


def hot(channel, *, residual=False, between="Relu"):
    """Gemm, an activation, Gemm; one channel between them is 60 times as large as the others."""
    first = weights((8, 32), 1, 0.3)
    first[:, channel] *= 60
    second = weights((32, 8), 2, 0.3)
    second[channel] /= 20
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"], "fc1"),
        node(between, ["h"], ["r"], "act"),
        node("Gemm", ["r", "w2"], ["z" if residual else "y"], "fc2"),
    ]
    constants = {"w1": first, "b1": weights(32, 3, 0.1), "w2": second}
    if residual:
        nodes += [node("MatMul", ["r", "w3"], ["s"], "by"), node("Exp", ["r"], ["e"]), node("ReduceMin", ["e"], ["m"])]
        nodes += [node("Add", ["z", "s"], ["t"]), node("Add", ["t", "m"], ["y"])]
        constants["w3"] = weights((32, 8), 5, 0.1)
    return model(nodes, [("x", ["n", 8])], [("y", ["n", 8])], constants, opset=20)


def feeds(rows=256, seed=0):
    """Bounded values: the rows that judge reach no further than those that fit."""
    return [{"x": np.random.default_rng(seed).uniform(-1, 1, (rows, 8)).astype("f")}]


def tried(proto, tmp_path, samples=None, **options):
    result = equalize(save(proto, tmp_path / "m.onnx"), samples or feeds(), tmp_path, **options)
    return result, onnxfile.load(result.model.path)


def test_a_hot_channel_is_smoothed_and_brings_more_than_six_db(tmp_path):
    proto = hot(5)
    result, balanced = tried(proto, tmp_path, transforms=FREE)
    (smoothing,) = result.tried
    assert (smoothing.name, smoothing.kept) == ("smoothing", True)
    assert smoothing.after_db > smoothing.before_db + 6
    assert smoothing.change == "scales 32 channels that 1 of 2 quantised nodes read"
    assert result.judged_on == 64
    feed = feeds(seed=9)[0]
    np.testing.assert_array_equal(run(balanced, feed)["y"], run(proto, feed)["y"])
    assert balanced.graph.initializer != proto.graph.initializer
    assert len(balanced.graph.node) == len(proto.graph.node)


def test_what_helps_only_the_rows_that_fitted_is_not_kept(tmp_path):
    """Channel 0 is large in the rows that fit, channel 1 in every fourth row, which judges."""
    proto = model(
        [node("Gemm", ["x", "w0"], ["h"], "fc0"), node("Relu", ["h"], ["r"]), node("Gemm", ["r", "w2"], ["y"], "fc2")],
        [("x", ["n", 8])],
        [("y", ["n", 8])],
        {"w0": np.eye(8, dtype="f"), "w2": weights((8, 8), 2)},
    )
    rows = np.abs(np.random.default_rng(0).normal(size=(128, 8))).astype("f")
    judges = np.arange(128) % 4 == 1
    rows[~judges, 0] *= 60
    rows[judges, 1] *= 60
    result, after = tried(proto, tmp_path, [{"x": rows}], transforms=FREE)
    (smoothing,) = result.tried
    assert not smoothing.kept
    assert smoothing.after_db < smoothing.before_db
    assert after.SerializeToString(deterministic=True) == proto.SerializeToString(deterministic=True)


def test_cross_layer_balances_the_weights_of_two_layers(tmp_path):
    result, _ = tried(hot(5), tmp_path, transforms=("cross_layer",))
    assert result.tried[0].kept
    assert result.tried[0].after_db > result.tried[0].before_db + 3


@pytest.mark.parametrize("proto", [hot(5, between="Gelu"), hot(5, between="Gelu", residual=True)])
def test_behind_gelu_a_branch_is_opened_for_the_quantised_readers(proto, tmp_path):
    result, balanced = tried(proto, tmp_path, transforms=("smoothing", "branch_smoothing"))
    free, branch = result.tried
    assert (free.kept, free.change) == (False, "nothing it could improve")
    assert branch.kept
    assert branch.after_db > branch.before_db + 6
    assert len(balanced.graph.node) == len(proto.graph.node) + 1
    assert {n.activation for n in place(balanced).nodes if n.node != "fc1"} == {"r/balanced"}
    feed = feeds(seed=9)[0]
    np.testing.assert_array_equal(run(balanced, feed)["y"], run(proto, feed)["y"])


def test_a_branch_that_brings_nothing_leaves_no_trace(tmp_path):
    proto = hot(5, between="Gelu")
    for tensor in proto.graph.initializer:
        if tensor.name in ("w1", "w2"):
            tensor.raw_data = (np.ones(tensor.dims, "f") / (8 if tensor.name == "w1" else 7)).tobytes()
    result, after = tried(proto, tmp_path, transforms=("branch_smoothing",))
    assert not result.tried[0].kept
    assert [n.op_type for n in after.graph.node] == [n.op_type for n in proto.graph.node]


def test_each_can_be_turned_off(tmp_path):
    for transforms in ((), ("cross_layer",), DEFAULT):
        result, _ = tried(hot(5), tmp_path, transforms=transforms)
        assert tuple(t.name for t in result.tried) == transforms


def test_without_transforms_the_model_stays_as_it_is(tmp_path):
    proto = cnn()
    result, after = tried(proto, tmp_path, [random_feed(proto)], transforms=())
    assert (result.tried, result.judged_on) == ((), 0)
    assert after == proto


def test_a_model_without_weighted_nodes_needs_no_samples(tmp_path):
    proto = model([node("Relu", ["x"], ["y"])], [("x", ["n", 4])], [("y", ["n", 4])])
    assert tried(proto, tmp_path, [])[0].tried == ()


def test_the_transforms_are_found_by_name():
    assert set(DEFAULT) == set(TRANSFORMS.names())
    assert all(line for line in TRANSFORMS.summaries().values())


def test_a_wrong_name_is_told_before_the_work(tmp_path):
    with pytest.raises(UsageError, match="there is no transform 'smooting'"):
        tried(hot(5), tmp_path, transforms=("smooting",))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_rows_are_an_error(tmp_path, count):
    with pytest.raises(FeedError):
        tried(matmul(), tmp_path, [{"x": np.ones((1, 4), "f")}] * count)


def test_nodes_without_names_are_told_apart(tmp_path):
    proto = hot(5)
    for each in proto.graph.node:
        each.name = ""
    result, _ = tried(proto, tmp_path, transforms=FREE)
    assert result.tried[0].kept


def test_the_result_is_the_same_each_time(tmp_path):
    digests = set()
    for run_number in range(2):
        folder = tmp_path / str(run_number)
        folder.mkdir()
        digests.add(tried(hot(5), folder)[0].model.digest)
    assert len(digests) == 1


def test_batches_change_nothing_but_which_rows_are_sampled(tmp_path):
    rows = feeds(64)[0]["x"]
    whole, _ = tried(mlp(), tmp_path, [{"x": rows}], transforms=FREE)
    parts, _ = tried(mlp(), tmp_path, [{"x": part} for part in np.split(rows, 4)], transforms=FREE)
    assert whole.judged_on == parts.judged_on
    assert whole.tried[0].before_db == pytest.approx(parts.tried[0].before_db, abs=1e-3)


def test_a_readers_samples_are_split_row_by_row_too(tmp_path):
    proto = hot(5)
    np.save(tmp_path / "x.npy", feeds()[0]["x"])
    (tmp_path / "reader.py").write_text(
        "import numpy as np\n\n\ndef rows():\n    yield {'x': np.load(" + repr(str(tmp_path / "x.npy")) + ")}\n"
    )
    samples = Samples("reader.py:rows", onnxfile.inputs(proto), tmp_path, 256)
    by_reader, _ = tried(proto, tmp_path, samples, transforms=FREE)
    by_feeds, _ = tried(proto, tmp_path, transforms=FREE)
    assert (by_reader.tried, by_reader.judged_on) == (by_feeds.tried, 64)
