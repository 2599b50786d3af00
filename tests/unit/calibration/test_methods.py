"""What holds for every method; each one's own tests are in ``methods/``."""

import numpy as np
import pytest
from onnx_models import matmul, save

from trtbuild.calibration import METHODS, calibrate
from trtbuild.calibration.histogram import StreamingHistogram
from trtbuild.calibration.methods.auto import CANDIDATES

NAMES = CANDIDATES
NORMAL = np.random.default_rng(0).normal(size=200_000)
HEAVY = np.random.default_rng(1).standard_t(3, size=200_000)
TENSORS = {
    "normal": NORMAL,
    "heavy": HEAVY,
    "half": np.abs(NORMAL),
    "relu": np.maximum(NORMAL, 0),
    "one_value": [1.0],
    "tiny": [1e-6, -1e-6],
    "subnormal": [1e-45, -3e-42, 0.0],
    "subnormals": NORMAL * 1e-40,
    "huge": NORMAL * 5e37,
    "constant": [5.0] * 1000,
    "two_values": [0.3, -1.7] * 500,
    "huge_outlier": np.append(NORMAL, 1e30),
    "pixels": np.arange(256) / 255,
    "one_hot": [0.0] * 50_000 + [1.0],
}


def threshold(method, values):
    histogram = StreamingHistogram()
    histogram.add(np.asarray(values, np.float32))
    return METHODS.load(method).threshold(histogram.result())


def test_every_method_of_the_design_is_there():
    assert {"entropy", "percentile", "minmax", "mse"} <= set(NAMES)


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("tensor", TENSORS)
def test_a_threshold_is_positive_and_never_above_the_largest_value(method, tensor):
    amax = float(np.abs(np.asarray(TENSORS[tensor], np.float32)).max())
    found = threshold(method, TENSORS[tensor])
    assert isinstance(found, float)
    assert 0 < found <= amax


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("tensor", ["one_value", "tiny", "constant"])
def test_what_is_all_one_magnitude_is_kept_exactly(method, tensor):
    amax = float(np.abs(np.asarray(TENSORS[tensor], np.float32)).max())
    assert threshold(method, TENSORS[tensor]) == pytest.approx(amax, rel=1e-15)


@pytest.mark.parametrize("method", NAMES)
def test_a_threshold_scales_exactly_with_a_power_of_two(method):
    for values in (NORMAL, HEAVY):
        small = threshold(method, values)
        for exponent in (2, -2, 40, -60):
            assert threshold(method, values.astype(np.float32) * np.float32(2.0**exponent)) == small * 2.0**exponent


@pytest.mark.parametrize("method", NAMES)
def test_zeros_only_get_some_range_by_every_method(method, tmp_path):
    path = save(matmul(), tmp_path / "m.onnx")
    found = calibrate(path, [{"x": np.zeros((2, 4), np.float32)}], method=method).ranges["x"]
    assert (found.amax, found.clipped) == (1, 0)


@pytest.mark.parametrize("method", ["entropy", "mse", "percentile"])
def test_heavy_tails_are_clipped(method):
    assert threshold(method, HEAVY) < 0.7 * float(np.abs(HEAVY).max())
