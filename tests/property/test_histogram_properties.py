import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trtbuild.calibration import METHODS
from trtbuild.calibration.histogram import StreamingHistogram
from trtbuild.calibration.methods.auto import CANDIDATES

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
samples = arrays.arrays(np.float32, st.integers(1, 60), elements=floats)


def counted(parts):
    histogram = StreamingHistogram()
    for part in parts:
        histogram.add(part)
    return histogram


def split(values, cuts):
    return np.split(values, sorted(c % (len(values) + 1) for c in cuts))


def same(left, right):
    a, b = left.result(), right.result()
    assert (a.counts == b.counts).all()
    assert (a.width, a.amax) == (b.width, b.amax)


@given(samples, st.randoms(use_true_random=False), st.lists(st.integers(0, 100), max_size=5))
def test_order_and_batching_change_nothing(values, random, cuts):
    order = list(range(len(values)))
    random.shuffle(order)
    same(counted([values]), counted(split(values[order], cuts)))


@given(samples, st.lists(st.integers(0, 100), max_size=5), st.booleans())
def test_merging_shards_is_adding_their_values(values, cuts, backwards):
    merged = StreamingHistogram()
    shards = split(values, cuts)
    for shard in reversed(shards) if backwards else shards:
        merged.merge(counted([shard]))
    same(counted([values]), merged)


@given(samples)
def test_every_value_is_counted_in_the_bin_that_holds_it(values):
    found = counted([values]).result()
    assert found.counts.sum() == len(values)
    for value in np.abs(values.astype(np.float64)):
        assert found.counts[int(value / found.width)] > 0
    assert found.counts[len(found.seen()) :].sum() == 0


@settings(max_examples=30)
@given(samples, st.sampled_from(CANDIDATES))
def test_every_method_keeps_something_and_never_more_than_the_largest(values, method):
    found = counted([values]).result()
    if found.amax > 0:
        kept = METHODS.load(method).threshold(found)
        assert 0 < kept <= found.amax
        assert 0 <= found.clipped(kept) <= 1
