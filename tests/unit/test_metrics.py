import math

import numpy as np
import pytest

from trtbuild.metrics import PairStatistics, Quantiles, row_cosines


def compared(*pairs):
    statistics = PairStatistics("y")
    for reference, subject in pairs:
        statistics.add(np.asarray(reference, np.float32), np.asarray(subject, np.float32))
    return statistics.result()


def test_equal_outputs_have_no_error():
    found = compared(([[1, 2], [3, 4]], [[1, 2], [3, 4]]))
    assert (found.max_abs, found.mean_abs, found.sqnr_db, found.worst, found.nonfinite) == (0, 0, None, None, 0)
    assert found.cosine == pytest.approx(1)
    assert found.cosine_min == pytest.approx(1)


def test_values_over_several_samples():
    found = compared(([[3.0, 4.0]], [[3.0, 3.5]]), ([[0.0, 2.0]], [[1.0, 2.0]]))
    assert found.max_abs == 1
    assert found.mean_abs == pytest.approx(1.5 / 4)
    assert found.sqnr_db == pytest.approx(10 * math.log10(29 / 1.25))
    first, second = (9 + 14) / (5 * math.hypot(3, 3.5)), 4 / (2 * math.hypot(1, 2))
    assert found.cosine == pytest.approx((first + second) / 2)
    assert found.cosine_min == pytest.approx(min(first, second))
    assert (found.worst.sample, found.worst.index, found.worst.reference, found.worst.subject) == (1, (0, 0), 0, 1)
    assert found.reference_range == (0, 4)
    assert found.subject_range == (1, 3.5)


def test_means_do_not_depend_on_how_rows_are_batched():
    random = np.random.default_rng(0)
    a = random.normal(size=(6, 5))
    b = a + random.normal(size=(6, 5)) * 0.1
    whole, parts = compared((a, b)), compared((a[:1], b[:1]), (a[1:], b[1:]))
    for name in ("max_abs", "mean_abs", "cosine", "cosine_min", "sqnr_db"):
        assert getattr(whole, name) == pytest.approx(getattr(parts, name))


@pytest.mark.parametrize(
    ("reference", "subject", "count"),
    [
        ([1, 2], [np.nan, 2], 1),
        ([1, 2], [np.inf, -np.inf], 2),
        ([np.inf, 2], [np.inf, 2], 0),
        ([np.nan, 2], [np.nan, 2], 0),
        ([np.inf, 2], [-np.inf, 2], 1),
        ([np.nan, 2], [1, 2], 1),
    ],
)
def test_nan_and_inf_are_counted_where_the_sides_disagree_and_kept_out_of_the_means(reference, subject, count):
    found = compared(([reference], [subject]))
    assert found.nonfinite == count
    numbers = (
        found.max_abs,
        found.mean_abs,
        found.cosine,
        found.cosine_min,
        *found.reference_range,
        *found.subject_range,
    )
    assert all(math.isfinite(n) for n in numbers)


def test_shapes_must_be_equal():
    with pytest.raises(ValueError, match="'y'"):
        compared(([[1, 2]], [[1], [2]]))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,)])
def test_an_empty_output_is_no_error(shape):
    found = compared((np.zeros(shape), np.zeros(shape)), (np.ones((2, 2)), np.ones((2, 2))))
    assert found.max_abs == 0
    assert found.cosine == pytest.approx(1)


def test_a_scalar_output_is_one_row():
    assert compared((2.0, 2.0)).cosine == pytest.approx(1)
    assert compared((2.0, -2.0)).cosine == pytest.approx(-1)


def test_integer_and_boolean_outputs_are_compared():
    statistics = PairStatistics("y")
    statistics.add(np.array([1, 2, 3]), np.array([1, 2, 5]))
    assert statistics.result().max_abs == 2
    statistics = PairStatistics("z")
    statistics.add(np.array([True, False]), np.array([True, True]))
    assert statistics.result().max_abs == 1


def test_zero_rows_are_alike_and_unlike_anything_else():
    zero, one = np.zeros((1, 3)), np.ones((1, 3))
    assert row_cosines(zero, zero).tolist() == [1]
    assert row_cosines(zero, one).tolist() == [0]
    assert row_cosines(one, -one).tolist() == pytest.approx([-1])


def test_rows_lie_along_axis_0():
    assert row_cosines(np.ones((4, 2, 3)), np.ones((4, 2, 3))).shape == (4,)


def detailed(reference, subject):
    statistics = PairStatistics("y", detailed=True)
    statistics.add(np.asarray(reference, np.float32), np.asarray(subject, np.float32))
    return statistics.result()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
def test_quantiles_are_never_below_and_within_a_hundredth_above(share, scale):
    values = np.random.default_rng(0).lognormal(sigma=2, size=10_000) * scale
    quantiles = Quantiles()
    for part in np.array_split(values, 7):
        quantiles.add(part)
    true = float(np.quantile(values, share, method="inverted_cdf"))
    assert true * (1 - 1e-6) <= quantiles.at(share) <= true * 1.008


def test_quantiles_of_nothing_and_of_zeros():
    quantiles = Quantiles()
    assert quantiles.at(0.99) == 0
    quantiles.add(np.zeros(5))
    assert quantiles.at(0.99) == 0


def test_relative_errors_leave_zeros_out():
    found = detailed([[0.0, 2.0, -4.0]], [[1.0, 2.5, -4.0]])
    assert found.max_rel == 0.25
    assert found.p99_rel == pytest.approx(0.25, rel=0.008)
    assert found.p99_abs == pytest.approx(1.0, rel=0.008)


def test_psnr_is_of_the_width_of_the_reference():
    found = detailed([[0.0, 10.0]], [[1.0, 10.0]])
    assert found.psnr_db == pytest.approx(10 * math.log10(100 / 0.5))
    assert detailed([[1.0, 2.0]], [[1.0, 2.0]]).psnr_db is None


def test_scores_of_classes():
    reference, subject = [[3.0, 1.0, 0.0], [0.0, 1.0, 0.0]], [[3.0, 1.0, 0.0], [2.0, 1.0, 0.0]]
    scores = detailed(reference, subject).scores
    assert (scores.classes, scores.rows, scores.top1, scores.top5) == (3, 2, 0.5, 1.0)
    p, q = (np.exp(x) / np.exp(x).sum() for x in (np.array(reference[1]), np.array(subject[1])))
    assert scores.kl == pytest.approx(float((p * np.log(p / q)).sum()) / 2)


def test_a_row_of_scores_with_nan_agrees_with_nothing():
    scores = detailed([[3.0, 1.0], [3.0, 1.0]], [[3.0, 1.0], [np.nan, 1.0]]).scores
    assert (scores.rows, scores.top1, scores.kl) == (2, 0.5, 0)


def test_no_axis_of_classes_no_scores():
    assert detailed([1.0, 2.0], [1.0, 2.0]).scores is None
    assert detailed([[1.0], [2.0]], [[1.0], [2.0]]).scores is None
    assert compared(([[1, 2]], [[1, 2]])).scores is None, "it was not asked for"
