import numpy as np
import pytest

from trtbuild.calibration.counting import BINS
from trtbuild.calibration.histogram import StreamingHistogram


def counted(*arrays):
    histogram = StreamingHistogram()
    for array in arrays:
        histogram.add(np.asarray(array, np.float32))
    return histogram


def test_bins_hold_the_magnitudes_they_name():
    found = counted([0.0, 0.25, -0.5, 0.75, -0.9]).result()
    assert found.width == 1 / BINS
    assert np.flatnonzero(found.counts).tolist() == [0, BINS // 4, BINS // 2, BINS * 3 // 4, int(0.9 * BINS)]
    assert found.amax == pytest.approx(0.9)
    assert found.counts.sum() == 5


def test_the_largest_value_lies_in_the_upper_half():
    for largest in (0.51, 1.0, 3.0, 1000.0, 1e-6, 1e30):
        found = counted([largest]).result()
        assert BINS // 2 <= np.flatnonzero(found.counts)[0] < BINS
        assert len(found.seen()) > BINS // 2


def test_a_larger_value_doubles_the_range_and_keeps_the_counts():
    found = counted([0.1, 0.2, 0.3], [5.0]).result()
    assert found.width == 8 / BINS
    assert found.counts.sum() == 4
    assert (found.counts == counted([5.0, 0.3, 0.2, 0.1]).result().counts).all()


def test_a_far_larger_value_puts_all_before_it_into_the_first_bin():
    found = counted([1e-6, 2e-6], [1e6]).result()
    assert found.counts[0] == 2
    assert found.counts.sum() == 3


def test_zeros_before_and_after_the_first_value():
    assert (counted([0, 0], [3], [0]).result().counts == counted([0, 3, 0, 0]).result().counts).all()


def test_only_zeros_and_nothing_at_all():
    assert counted([0, 0]).result().amax == 0
    assert counted([]).result().amax == 0
    assert counted().result().counts.sum() == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_float_type_counts_alike(dtype):
    histogram = StreamingHistogram()
    histogram.add(np.array([0.5, 1.5, -2.0], dtype))
    assert (histogram.result().counts == counted([0.5, 1.5, -2.0]).result().counts).all()


@pytest.mark.parametrize("value", [1e-45, 1e-40, 1.2e-38, 3.4e38])
def test_the_ends_of_the_float_range_are_counted(value):
    found = counted([value, 0.0]).result()
    assert found.counts.sum() == 2
    assert found.amax == np.float32(value)


def test_clipped_is_the_share_above_a_threshold():
    found = counted(np.arange(1, 101) / 100).result()
    assert found.clipped(found.amax) == 0
    assert found.clipped(0.5) == pytest.approx(0.5, abs=0.02)
    assert found.clipped(0.0) == 1


def test_merging_with_an_empty_one_changes_nothing():
    before = counted([1, 2]).result().counts
    histogram = counted([1, 2])
    histogram.merge(StreamingHistogram())
    assert (histogram.result().counts == before).all()
    empty = StreamingHistogram()
    empty.merge(counted([1, 2]))
    assert (empty.result().counts == before).all()
    assert empty.result().amax == 2
