"""The coarse histogram that a table keeps for a person to look at."""

import numpy as np
import pytest

from trtbuild.artifacts import CalibrationTable, from_json, to_json
from trtbuild.calibration.histogram import StreamingHistogram
from trtbuild.calibration.statistics import ActivationStatistics, TensorStatistics
from trtbuild.calibration.table import table_from


@pytest.mark.parametrize("scale", [1e-6, 1.0, 3.7, 1e4])
def test_wider_bins_hold_the_same_counts_and_end_at_the_largest_value(scale):
    values = np.abs(np.random.default_rng(0).standard_normal(5000).astype(np.float32) * scale)
    seen = StreamingHistogram()
    seen.add(values)
    counts, width = seen.result().coarse(64)
    assert sum(counts) == values.size
    assert (len(counts) - 1) * width <= values.max() < len(counts) * width
    assert counts[-1] > 0
    assert 32 <= len(counts) <= 64
    edges = np.arange(len(counts) + 1) * width
    assert list(counts) == np.histogram(values, edges)[0].tolist()


def test_a_table_keeps_it_and_reads_it_back():
    with_bins, range_only = TensorStatistics(), TensorStatistics(histogram=False)
    for seen in (with_bins, range_only):
        seen.add(np.linspace(-1, 3, 100, dtype=np.float32))
    table = table_from(ActivationStatistics("g", {"x": with_bins, "y": range_only}), "minmax")
    assert sum(table.ranges["x"].histogram) == 100
    assert table.ranges["y"].histogram == ()
    assert from_json(CalibrationTable, to_json(table)).ranges["x"] == table.ranges["x"]
