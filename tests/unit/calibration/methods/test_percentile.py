import numpy as np
import pytest

from trtbuild.calibration.histogram import StreamingHistogram
from trtbuild.calibration.methods.percentile import threshold
from trtbuild.errors import UsageError


def counted(values):
    histogram = StreamingHistogram()
    histogram.add(np.asarray(values, np.float32))
    return histogram.result()


def test_one_value_in_ten_thousand_is_clipped():
    values = np.linspace(0, 1, 100_000, dtype=np.float32)
    values[-5:] = 50
    kept = threshold(counted(values))
    assert 0.99 < kept < 1.05
    assert np.mean(values > kept) <= 1e-4


@pytest.mark.parametrize(("percentile", "values", "may_go"), [(99.99, 10_000, 1), (99.9, 41_000, 41), (99, 300, 3)])
def test_the_count_is_exact(percentile, values, may_go):
    """99.99 % of 10,000 values are 9,999: one may go, and not two. In floats, 99.9 % of 41,000 are more than 40,959."""
    for outliers, kept in ((may_go, 1.0), (may_go + 1, 8.0)):
        found = counted([1.0] * (values - outliers) + [8.0] * outliers)
        assert threshold(found, percentile) == pytest.approx(kept, rel=0.01)


@pytest.mark.parametrize(("percentile", "kept"), [(100, 100.0), (99, 99.0), (50, 50.0), (1, 1.0), (0.001, 1.0)])
def test_another_percentile(percentile, kept):
    found = counted(np.arange(1, 101))
    assert threshold(found, percentile) == pytest.approx(kept, abs=found.width)
    assert threshold(found, percentile) >= kept


@pytest.mark.parametrize("percentile", [0, -1, 100.1, float("nan")])
def test_no_such_percentile(percentile):
    with pytest.raises(UsageError, match="th percentile"):
        threshold(counted([1.0]), percentile)
