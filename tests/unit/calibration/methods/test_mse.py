import numpy as np
import pytest
from int8_error import best_threshold, mean_squared_error

from trtbuild.calibration.histogram import StreamingHistogram
from trtbuild.calibration.methods.mse import squared_errors, threshold

RANDOM = np.random.default_rng(0)
N = 20_000
TENSORS = {
    "normal": RANDOM.normal(size=N),
    "laplace": RANDOM.laplace(size=N),
    "heavy": RANDOM.standard_t(2, size=N),
    "very_heavy": RANDOM.standard_cauchy(size=N),
    "lognormal": RANDOM.lognormal(0, 2, size=N),
    "relu": np.maximum(RANDOM.normal(size=N), 0),
    "mostly_zero": np.where(RANDOM.random(N) < 0.99, 0, RANDOM.normal(size=N)),
    "sigmoid": 1 / (1 + np.exp(-RANDOM.normal(0, 4, size=N))),
    "relu6": np.clip(RANDOM.normal(4, 3, size=N), 0, 6),
    "two_lumps": np.concatenate([RANDOM.normal(0, 0.1, N), RANDOM.normal(5, 0.1, N // 100)]),
    "huge_outlier": np.append(RANDOM.normal(size=N), 1000.0),
    "outlier": np.append(RANDOM.normal(size=10 * N), 20.0),  # 20 is worth clipping, 1000 is not
    "gelu": (X := RANDOM.normal(-1, 1, size=N)) / (1 + np.exp(-1.702 * X)),  # a peak at its smallest value
    "pixels": RANDOM.integers(0, 256, N) / 255,
}


def counted(values):
    histogram = StreamingHistogram()
    histogram.add(np.asarray(values, np.float32))
    return histogram.result()


@pytest.mark.parametrize("name", TENSORS)
def test_the_error_on_the_values_is_within_one_per_cent_of_the_best(name):
    values = np.abs(TENSORS[name].astype(np.float32)).astype(np.float64)
    _, best = best_threshold(values)
    assert mean_squared_error(values, threshold(counted(values))) <= 1.01 * best


@pytest.mark.parametrize(("small", "share"), [(0.3, 0.9999), (0.3, 0.5), (0.0113, 0.99), (0.9, 0.999)])
def test_of_two_values_both_are_met_as_well_as_the_bins_can_tell(small, share):
    values = np.repeat(np.array([small, 1.0], np.float32), [int(10_000 * share), 10_000 - int(10_000 * share)])
    found = counted(values)
    values = values.astype(np.float64)
    _, best = best_threshold(values)
    assert mean_squared_error(values, threshold(found)) <= 1.01 * best + found.width**2 / 12


def test_an_outlier_is_clipped_where_that_pays():
    assert threshold(counted(TENSORS["outlier"])) < 10
    assert threshold(counted(TENSORS["huge_outlier"])) > 990


@pytest.mark.parametrize("value", [1.0, 5.0, 1.234567, 1e-30, 3e38])
def test_a_constant_keeps_its_value_exactly(value):
    assert threshold(counted([value] * 1000)) == pytest.approx(np.float32(value), rel=1e-15)
    assert threshold(counted([0.0] * 1000 + [value])) == pytest.approx(np.float32(value), rel=1e-15)


def test_a_sum_of_errors_worked_by_hand():
    """Four bins of width 1, all values in bin 1 (two) and bin 3 (one, at 3.5). Threshold 254: steps of 2.

    Bin 1 lies between 1 and 2, spread evenly: all of it rounds to 2, the mean of (2 - x)^2 is 1/3, twice that is 2/3.
    The largest value rounds to 4: 0.25. Together 0.91667.
    At 127 steps of 1: bin 1 rounds to 1 and 2, the mean is 1/12, twice that 1/6; 3.5 rounds to 4: 0.41667.
    At 1.27 steps of 0.01: all above 1.27 is clipped: twice the mean of (x - 1.27)^2 above, 2 * 0.73^3 / 3, twice
    0.27 * 0.01^2 / 12 below, and (3.5 - 1.27)^2: 5.23224.
    """
    counts = np.array([0.0, 2, 0, 1])
    found = squared_errors(counts, 3.5, np.array([254.0, 127.0, 1.27]))
    assert found == pytest.approx([2 / 3 + 0.25, 1 / 6 + 0.25, 2 * 0.73**3 / 3 + 0.54e-4 / 12 + 2.23**2], rel=1e-12)


def test_the_errors_are_those_of_values_spread_over_their_bins():
    counts = np.random.default_rng(1).integers(0, 50, 40).astype(float)
    counts[-1] = 0  # the last bin is the one of the largest value
    counts = np.append(counts, 7.0)
    thresholds = np.geomspace(2, 40.3, 30)
    fine = (np.arange(200) + 0.5) / 200
    values = (np.arange(40)[:, None] + fine).ravel()
    share = np.repeat(counts[:-1] / 200, 200)
    for a, found in zip(thresholds, squared_errors(counts, 40.3, thresholds), strict=True):
        rounded = np.minimum(np.round(values / (a / 127)), 127) * (a / 127)
        top = 7 * (40.3 - a) ** 2
        assert found == pytest.approx(share @ (values - rounded) ** 2 + top, rel=0.02)
