import math
import struct

import numpy as np
import pytest
from entropy_reference import as_searched, candidates, divergence, histogram

from trtbuild.calibration.counting import BINS
from trtbuild.calibration.histogram import StreamingHistogram
from trtbuild.calibration.methods.entropy import divergences, threshold


def test_a_divergence_worked_by_hand_where_nothing_is_clipped():
    """130 bins: 1 each, but 3 in bin 128. N = 132.

    At i = 130 the levels begin at 130 k // 128: all hold one bin, but level 63 (bins 63 and 64, alike: no loss) and
    level 127 (bins 128 and 129: 3 and 1, so Q has 2 and 2). P = Q everywhere else, both sums are 132:
    KL = (3 ln(3/2) + 1 ln(1/2)) / 132 = (1.2163953 - 0.6931472) / 132 = 0.0039640.
    """
    counts = np.ones(130)
    counts[128] = 3
    assert divergences(counts, np.array([130]))[0] == pytest.approx(0.0039640, abs=1e-7)
    assert divergence(counts, 130) == pytest.approx(0.0039640, abs=1e-7)


def test_a_divergence_worked_by_hand_where_one_value_is_folded():
    """The same histogram at i = 129: the value of bin 129 is folded into bin 128.

    P has 3 + 1 = 4 there and sums to 132. Q is made before the folding: level 127 holds bins 127 and 128, 1 and 3, so
    Q has 2 and 2 and sums to 131. With both normalised:
    KL = (1 ln(1/2) + 4 ln(4/2)) / 132 + ln(131/132) = 2.0794415 / 132 - 0.0076046 = 0.0081488.
    """
    counts = np.ones(130)
    counts[128] = 3
    assert divergences(counts, np.array([129]))[0] == pytest.approx(0.0081488, abs=1e-7)
    assert divergence(counts, 129) == pytest.approx(0.0081488, abs=1e-7)
    assert threshold(histogram(counts)) == 129.75  # 0.0081 > 0.0040: nothing is clipped


def test_a_search_worked_by_hand_that_clips():
    """129 bins of 1,000 and one of 1.

    i = 130: level 127 makes 1,000 and 1 into 500.5 each: KL = (1000 ln 1.998 + ln 0.001998) / 129001 = 0.0053.
    i = 129: the one value is folded: KL = 1001 ln(1.001) / 129001 + ln(129000 / 129001) = 4e-9.
    So 129 bins are kept, and the threshold is the middle of the one after them.
    """
    counts = [1000] * 129 + [1]
    found = divergences(np.asarray(counts, float), np.array([129, 130]))
    assert found[0] == pytest.approx(4e-9, abs=1e-9)
    assert found[1] == pytest.approx(0.0053, abs=1e-4)
    assert threshold(histogram(counts)) == 129.5


def test_a_search_worked_by_hand_that_clips_by_a_little():
    """127 bins of a million, two of 10 and one of 1. What is lost is 3e-8 of a nat, and still decides.

    i = 130: level 127 makes 10 and 1 into 5.5 each: KL = (10 ln(10 / 5.5) + ln(1 / 5.5)) / 127000021 = 3.4e-8.
    i = 129: the one is folded into the last 10: KL = (11 ln 1.1) / 127000021 + ln(1 - 1 / 127000021) = 3.8e-10.
    """
    counts = [10**6] * 127 + [10, 10, 1]
    found = divergences(np.asarray(counts, float), np.array([129, 130]))
    assert found == pytest.approx([3.8e-10, 3.4e-8], rel=0.02)
    assert threshold(histogram(counts)) == 129.5


def test_what_128_levels_hold_exactly_is_no_candidate():
    """128 bins of 1,000 and one of 1: 128 bins make 128 levels, so clipping at them would seem to lose nothing."""
    counts = [1000] * 128 + [1]
    kept, all_of_them = divergences(np.asarray(counts, float), np.array([128, 129]))
    assert kept < 1e-8 < all_of_them
    assert threshold(histogram(counts)) == 128.75


def test_the_whole_search_is_the_literal_one_on_a_real_histogram():
    streamed = StreamingHistogram()
    streamed.add(np.random.default_rng(3).standard_t(4, size=20_000).astype(np.float32))
    found = streamed.result()
    counts = as_searched(found.seen().tolist())
    assert len(counts) > 2048
    some = np.array([*range(300, len(counts), 50), len(counts)])
    literal = [divergence(counts, int(i)) for i in some]
    np.testing.assert_allclose(divergences(np.asarray(counts, float), some), literal, rtol=0, atol=1e-12)
    assert 0 < sum(map(math.isfinite, literal)) < len(some)  # both kinds are among them


def test_at_least_2048_bins_are_searched():
    for largest in (0.5001, 0.75, 1.0):
        streamed = StreamingHistogram()
        streamed.add(np.linspace(0, largest, 100_000, dtype=np.float32))
        counts = streamed.result().seen()
        assert 2048 <= len(counts) <= BINS
        assert len(candidates(counts.tolist()[:200])) == 200 - 128


@pytest.mark.parametrize(("kept", "written"), [(2048, "3c010a14"), (2040, "3c008912")])
def test_public_caches_hold_thresholds_of_this_form(kept, written):
    """``prob`` and ``data`` of the MNIST sample that ships with TensorRT 7: values over [0, 1], 2,048 bins.

    A value of the cache is amax / 127 as a float32, and amax the middle of the bin after those that are kept.
    """
    amax = (kept + 0.5) / 2048
    assert struct.pack(">f", amax / 127).hex() == written


def test_eight_bit_images_keep_their_range():
    """What a literal search makes of them: 128 of 256 values stand for themselves exactly, and the rest is lost."""
    pixels = StreamingHistogram()
    random = np.random.default_rng(0)
    pixels.add((random.integers(0, 256, 50_000) * (random.random(50_000) < 0.2) / 255).astype(np.float32))
    assert threshold(pixels.result()) > 0.9


def test_of_candidates_that_are_alike_the_one_that_clips_least_wins():
    """One value in 2e15 lies alone in bin 250: to fold it changes nothing that a float can hold, nor does keeping it."""
    counts = [10**13] * 200 + [0] * 50 + [1]
    found = divergences(np.asarray(counts, float), np.array([200, 250, 251]))
    assert found == pytest.approx([0, math.inf, 0], abs=1e-12)
    assert threshold(histogram(counts)) == 250.75


def test_a_threshold_is_not_above_the_largest_value():
    assert threshold(histogram([5] * 300, largest=299.125)) == 299.125


def test_keeps_all_of_a_value_range_that_128_levels_hold():
    few = StreamingHistogram()
    few.add((np.repeat(np.arange(100) / 99, 50)).astype(np.float32))
    assert threshold(few.result()) == 1.0
    lone = StreamingHistogram()
    lone.add(np.array([0.0] * 1000 + [1.0], np.float32))
    assert threshold(lone.result()) == 1.0


def test_is_not_drowned_by_the_zeros_of_a_relu():
    values = np.abs(np.random.default_rng(0).normal(size=200_000)).astype(np.float32)
    without, with_zeros = StreamingHistogram(), StreamingHistogram()
    for each in (without, with_zeros):
        each.add(values)
    with_zeros.add(np.zeros(5_000_000, np.float32))
    assert threshold(with_zeros.result()) == threshold(without.result())
