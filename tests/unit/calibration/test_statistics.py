import numpy as np
import pytest
from onnx_models import cnn, random_feed, save

from trtbuild import onnxfile
from trtbuild.calibration import ActivationStatistics, Wanted, collect, merge, table_from
from trtbuild.calibration.statistics import TensorStatistics
from trtbuild.errors import IntegrityError, UsageError

WANTED = Wanted(("x", "f"), ranges=("r1",), channels={"x": 1})


@pytest.fixture
def model(tmp_path):
    return onnxfile.stored(save(cnn(), tmp_path / "m.onnx"))


def feeds(count, start=0):
    proto = cnn()
    return [random_feed(proto, n=3, seed=seed) for seed in range(start, start + count)]


def same(left, right):
    for name, a in left.tensors.items():
        b = right.tensors[name]
        assert (a.low, a.high, a.count, a.nonfinite) == (b.low, b.high, b.count, b.nonfinite)
        assert (a.mean, a.deviation) == pytest.approx((b.mean, b.deviation), rel=1e-9)
        assert (a.histogram is None) == (b.histogram is None)
        if a.histogram:
            assert (a.histogram.counts == b.histogram.counts).all()
        assert (a.channels is None) == (b.channels is None)
        if a.channels:
            assert a.channels.result().amax == b.channels.result().amax
            assert a.channels.result().mean == pytest.approx(b.channels.result().mean, rel=1e-9)


def test_four_shards_merge_to_the_whole(model):
    given = feeds(8)
    whole = collect(model, given, WANTED)
    merged = merge([collect(model, given[i::4], WANTED) for i in range(4)])
    same(whole, merged)
    assert merged.data == whole.data
    assert table_from(merged, "entropy").ranges.keys() == table_from(whole, "entropy").ranges.keys()
    for name, found in table_from(whole, "entropy").ranges.items():
        assert table_from(merged, "entropy").ranges[name].amax == found.amax


def test_merging_leaves_the_shards_as_they_are(model):
    one, two = collect(model, feeds(2), WANTED), collect(model, feeds(2, start=2), WANTED)
    before = one.tensors["f"].histogram.counts.copy()
    merge([one, two])
    assert (one.tensors["f"].histogram.counts == before).all()


def test_a_file_holds_all_of_it(model, tmp_path):
    whole = collect(model, feeds(3), WANTED)
    whole.save(tmp_path / "shard.npz")
    read = ActivationStatistics.load(tmp_path / "shard.npz")
    same(whole, read)
    assert (read.graph, read.samples, read.row_digests) == (whole.graph, whole.samples, whole.row_digests)
    same(merge([whole, collect(model, feeds(1, 9), WANTED)]), merge([read, collect(model, feeds(1, 9), WANTED)]))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"{}"])
def test_another_file_is_refused(tmp_path, content):
    file = tmp_path / "shard.npz"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="no calibration statistics"):
        ActivationStatistics.load(file)


def test_a_file_cut_short_is_refused(model, tmp_path):
    file = tmp_path / "shard.npz"
    collect(model, feeds(1), WANTED).save(file)
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(UsageError, match="no calibration statistics"):
        ActivationStatistics.load(file)


def test_shards_of_other_graphs_and_other_tensors_are_refused(model, tmp_path):
    proto = cnn()
    proto.graph.node[0].name = "renamed"
    other = onnxfile.stored(save(proto, tmp_path / "other.onnx"))
    one = collect(model, feeds(1), WANTED)
    with pytest.raises(IntegrityError, match="one shard belongs to graph"):
        merge([one, collect(other, feeds(1, 1), WANTED)])
    with pytest.raises(IntegrityError, match="different tensors"):
        merge([one, collect(model, feeds(1, 1), Wanted(("x",)))])


def test_a_shard_that_is_given_twice_is_refused(model):
    one = collect(model, feeds(2), WANTED)
    with pytest.raises(UsageError, match="would count twice"):
        merge([one, one])
    with pytest.raises(UsageError, match="no shard"):
        merge([])


def test_nan_and_infinity_are_counted_and_left_out(model):
    exposed = collect(model, feeds(1), WANTED).tensors["x"]
    exposed.add(np.array([[np.nan, 1.0], [np.inf, -9.0]], "f"), sample=4)
    assert (exposed.nonfinite, exposed.first_nonfinite, exposed.low) == (2, 4, -9)
    assert np.isfinite([exposed.mean, exposed.deviation, exposed.high]).all()
    assert exposed.channels is None


def test_large_values_do_not_overflow_the_moments(model):
    exposed = collect(model, feeds(1), WANTED).tensors["x"]
    exposed.add(np.full((1, 2), 3e38, "f"))
    assert np.isfinite(exposed.deviation)


@pytest.mark.parametrize(("shape", "axis"), [((1500, 7), -1), ((3, 7, 40), 1), ((2, 5, 7), 2), ((7,), 0)])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_moments_and_channels_are_those_of_the_values(shape, axis, dtype):
    values = np.random.default_rng(0).normal(2, 3, shape).astype(dtype)
    plain, channels = TensorStatistics(), TensorStatistics(channel_axis=axis)
    for seen in (plain, channels):
        seen.add(values)
        exact = values.astype("f8")
        assert (seen.low, seen.high, seen.count) == (exact.min(), exact.max(), exact.size)
        assert seen.mean == pytest.approx(exact.mean(), rel=1e-6)
        assert seen.deviation == pytest.approx(exact.std(), rel=1e-5)
        width = seen.histogram.result().width
        assert (seen.histogram.counts == np.bincount((abs(exact) / width).astype(int).ravel(), minlength=4096)).all()
    others = tuple(n for n in range(len(shape)) if n != axis % len(shape))
    found = channels.channels.result()
    assert found.amax == pytest.approx(abs(exact).max(axis=others))
    assert found.mean == pytest.approx(exact.mean(axis=others), rel=1e-5)


def test_sums_of_channels_are_not_lost_in_large_ones():
    values = np.tile(np.array([[1e8, 1.0]], "f"), (4096, 1))
    values[::2, 0] = -1e8
    seen = TensorStatistics(channel_axis=-1)
    seen.add(values)
    assert seen.channels.result().mean == (0, 1)
    assert seen.mean == 0.5
