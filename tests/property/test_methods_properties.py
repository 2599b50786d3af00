import math

import numpy as np
from entropy_reference import LEVELS, as_searched, candidates, divergence, histogram
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from int8_error import best_threshold, mean_squared_error

from trtbuild.calibration import METHODS
from trtbuild.calibration.histogram import StreamingHistogram
from trtbuild.calibration.methods import entropy, mse, percentile
from trtbuild.calibration.methods.auto import CANDIDATES

NAMES = CANDIDATES
MAGNITUDES = arrays.arrays(
    np.float32,
    st.integers(1, 200),
    elements=st.floats(0, 2.0**100, width=32),
).filter(lambda values: values.max() > 0)


def counted(values):
    streamed = StreamingHistogram()
    streamed.add(np.asarray(values, np.float32))
    return streamed.result()


@st.composite
def histograms(draw):
    """Counts of 2 to 300 bins with holes, steep or even, and something in the last bin."""
    bins = draw(st.integers(2, 300))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    steepness = draw(st.sampled_from([0.0, 1.0, 8.0]))
    most = draw(st.sampled_from([1, 5, 1000, 10**9]))
    counts = random.poisson(most * np.exp(-steepness * np.arange(bins) / bins))
    counts[random.random(bins) < draw(st.sampled_from([0.0, 0.1, 0.5]))] = 0
    counts[-1] = max(counts[-1], 1)
    return counts.tolist()


@settings(max_examples=40)
@given(histograms())
def test_entropy_is_the_literal_search(counts):
    searched = as_searched(counts)
    looked_at = candidates(searched)
    literal = [divergence(searched, i) for i in looked_at]
    found = entropy.divergences(np.asarray(searched, float), np.asarray(looked_at, np.int64))
    np.testing.assert_allclose(found, literal, rtol=0, atol=1e-12)

    threshold = entropy.threshold(histogram(counts))
    least = min(literal, default=math.inf)
    if math.isinf(least):
        assert threshold == len(counts) - 0.25  # the largest value
    else:
        kept = len(counts) if threshold == len(counts) - 0.25 else int(threshold)
        assert kept > LEVELS
        assert literal[looked_at.index(kept)] <= least + 2e-12


@st.composite
def smooth_tensors(draw):
    """Samples of distributions that have a density, as activations do; some with zeros or cut off at a value.

    Enough of them, and tails light enough, that the rounding of single values averages out.
    """
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(15_000, 30_000))
    kind = draw(st.sampled_from(["normal", "laplace", "t", "lognormal", "uniform", "gamma"]))
    values = {
        "normal": lambda: random.normal(draw(st.floats(-3, 3)), 1, n),
        "laplace": lambda: random.laplace(0, 1, n),
        "t": lambda: random.standard_t(draw(st.floats(2, 10)), n),
        "lognormal": lambda: random.lognormal(0, draw(st.floats(0.1, 1.5)), n),
        "uniform": lambda: random.uniform(draw(st.floats(-1, 0)), 1, n),
        "gamma": lambda: random.gamma(draw(st.floats(0.2, 5)), 1, n),
    }[kind]()
    shape = draw(st.sampled_from(["as it is", "relu", "cut off", "mostly zero"]))
    if shape == "relu":
        values = np.maximum(values, 0)
    elif shape == "cut off":
        values = np.clip(values, None, np.quantile(values, 0.97))
    elif shape == "mostly zero":
        values = np.where(random.random(n) < 0.95, 0, values)
    values = np.abs(values * draw(st.floats(1e-6, 1e6))).astype(np.float32)
    values[0] = max(values[0], np.float32(1e-9))
    return values


@settings(max_examples=15)
@given(smooth_tensors())
def test_mse_is_within_one_per_cent_of_the_best_on_the_values(values):
    found = counted(values)
    values = values.astype(np.float64)
    _, best = best_threshold(values)
    assert mean_squared_error(values, mse.threshold(found)) <= 1.01 * best


@given(MAGNITUDES, st.sampled_from(NAMES))
def test_a_threshold_is_positive_and_at_most_the_largest_value(values, method):
    found = METHODS.load(method).threshold(counted(values))
    assert 0 < found <= float(values.max())


@given(MAGNITUDES.filter(lambda v: v[v > 0].min() > 1e-20), st.integers(-60, 20), st.sampled_from(NAMES))
def test_a_threshold_scales_exactly_with_a_power_of_two(values, exponent, method):
    threshold = METHODS.load(method).threshold
    factor = 2.0**exponent
    assert threshold(counted(values * np.float32(factor))) == threshold(counted(values)) * factor


@settings(max_examples=30)
@given(smooth_tensors(), st.floats(1 / 3, 3), st.sampled_from(["minmax", "percentile", "mse"]))
def test_a_threshold_scales_closely_with_any_factor(values, factor, method):
    """The bins lie elsewhere: a percentile moves by less than a bin, least squares by what makes no difference."""
    threshold = METHODS.load(method).threshold
    before, after = counted(values), counted(values.astype(np.float64) * factor)
    if method == "mse":
        exact = values.astype(np.float64)
        errors = [mean_squared_error(exact, t) for t in (threshold(before), threshold(after) / factor)]
        assert max(errors) <= 1.01 * min(errors)
    else:
        allowed = 0 if method == "minmax" else before.width * factor + after.width
        assert abs(threshold(after) - threshold(before) * factor) <= allowed + 1e-6 * after.amax


@given(MAGNITUDES, st.sampled_from([100, 99.99, 99.9, 99, 90, 50]))
def test_a_percentile_clips_no_more_than_asked_for_and_little_less(values, asked):
    found = counted(values)
    kept = percentile.threshold(found, asked)
    exact = float(np.percentile(values.astype(np.float64), asked, method="inverted_cdf"))
    assert exact <= kept <= exact + found.width
    assert np.mean(values > kept) <= 1 - asked / 100 + 1e-12
