import numpy as np
import pytest

from trtbuild.calibration import METHODS
from trtbuild.calibration.histogram import StreamingHistogram

NAMES = sorted(METHODS.summaries())


def threshold(method, values):
    histogram = StreamingHistogram()
    histogram.add(np.asarray(values, np.float32))
    return METHODS.load(method).threshold(histogram.result())


def quantization_error(values, amax):
    scale = amax / 127
    return float(((np.clip(np.rint(values / scale), -127, 127) * scale - values) ** 2).mean())


NORMAL = np.random.default_rng(0).normal(size=200_000)
HEAVY = np.random.default_rng(1).standard_t(3, size=200_000)


def test_every_method_of_the_design_is_there():
    assert {"entropy", "percentile", "minmax", "mse"} <= set(NAMES)


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize(
    "values",
    [NORMAL, HEAVY, np.abs(NORMAL), np.maximum(NORMAL, 0), [1.0], [1e-6, -1e-6], [5.0] * 1000, np.arange(256) / 255],
    ids=["normal", "heavy", "half", "relu", "one", "tiny", "constant", "pixels"],
)
def test_a_threshold_is_positive_and_never_above_the_largest_value(method, values):
    amax = float(np.abs(np.asarray(values, np.float32)).max())
    assert 0 < threshold(method, values) <= amax


@pytest.mark.parametrize("method", NAMES)
def test_a_threshold_scales_with_the_values(method):
    small = threshold(method, NORMAL)
    for factor in (4.0, 0.25):  # powers of two leave the bins alike
        assert threshold(method, NORMAL * factor) == pytest.approx(small * factor, rel=1e-6)


def test_minmax_keeps_the_largest():
    assert threshold("minmax", [0.5, -7.25, 3]) == 7.25


def test_percentile_clips_one_value_in_ten_thousand():
    values = np.linspace(0, 1, 100_000, dtype=np.float32)
    values[-5:] = 50
    kept = threshold("percentile", values)
    assert 0.99 < kept < 1.05
    assert np.mean(values > kept) <= 1e-4


def test_mse_makes_no_more_error_than_keeping_everything():
    for values in (NORMAL, HEAVY):
        best = quantization_error(values, threshold("mse", values))
        assert best <= quantization_error(values, np.abs(values).max())
        for factor in (0.8, 1.25):
            assert best <= quantization_error(values, threshold("mse", values) * factor) * 1.02


def test_heavy_tails_are_clipped():
    largest = float(np.abs(HEAVY).max())
    for method in ("entropy", "mse", "percentile"):
        assert threshold(method, HEAVY) < 0.7 * largest


def test_entropy_keeps_all_of_a_value_range_that_128_levels_hold():
    assert threshold("entropy", np.repeat(np.arange(100) / 99, 50)) == 1.0
    assert threshold("entropy", [0.0] * 1000 + [1.0]) == 1.0


def test_entropy_is_not_drowned_by_the_zeros_of_a_relu():
    values = np.abs(NORMAL)
    with_zeros = threshold("entropy", np.concatenate([values, np.zeros(5_000_000)]))
    assert with_zeros == pytest.approx(threshold("entropy", values), rel=0.05)
