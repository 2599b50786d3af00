import numpy as np
import pytest

from trtbuild.precision.searching.floor import Floor, judged, student_95
from trtbuild.quantization.fidelity import EXACT_DB, RowErrors


def rows(signal, noise, cosine, nonfinite=0, output="y"):
    return RowErrors(output, np.array(signal, float), np.array(noise, float), np.array(cosine, float), nonfinite)


@pytest.mark.parametrize(
    ("freedom", "table"), [(1, 6.314), (2, 2.920), (3, 2.353), (5, 2.015), (10, 1.812), (30, 1.697), (120, 1.658)]
)
def test_students_quantile_is_that_of_the_printed_tables(freedom, table):
    assert student_95(freedom) == pytest.approx(table, rel=5e-3)


def test_the_bound_of_a_cosine_is_the_mean_less_a_margin_that_shrinks_with_rows():
    values = [0.99, 0.98, 1.0, 0.97]
    few = judged([rows([1] * 4, [0.01] * 4, values)], Floor("cosine", 0.9))
    many = judged([rows([1] * 400, [0.01] * 400, values * 100)], Floor("cosine", 0.9))
    assert few.cosine == pytest.approx(0.985) == many.cosine
    spread = np.std(values, ddof=1)
    assert few.bound == pytest.approx(0.985 - 2.353 * spread * np.sqrt(2 / 4), abs=2e-4)
    assert few.bound < many.bound < many.cosine


def test_the_bound_of_equal_rows_is_the_value():
    found = judged([rows([2.0] * 8, [0.02] * 8, [0.99] * 8)], Floor("sqnr", 10))
    assert found.sqnr_db == pytest.approx(20)
    assert found.bound == pytest.approx(20)


@pytest.mark.parametrize(("shape", "least"), [(2.0, 0.92), (50.0, 0.935)])
def test_the_bound_covers_about_nineteen_of_twenty_other_sets_of_rows(shape, least):
    """Where the noise of rows is skewed (gamma of shape 2) a little less often, as the docstring says."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        seen, other = random.gamma(shape, size=(2, 40))
        bound = judged([rows(np.ones(40), seen * 1e-3, np.ones(40))], Floor("sqnr", 0)).bound
        held += judged([rows(np.ones(40), other * 1e-3, np.ones(40))], Floor("sqnr", 0)).sqnr_db >= bound
    assert least <= held / 2000 <= 0.965


def test_the_worst_output_counts_and_nan_is_as_bad_as_can_be():
    good, bad = rows([1, 1], [0, 0], [1, 1]), rows([1, 1], [0.1, 0.1], [0.9, 0.9], output="z")
    assert judged([good], Floor("sqnr", 0)).sqnr_db == EXACT_DB
    assert judged([good, bad], Floor("sqnr", 0)).sqnr_db == pytest.approx(10)
    assert judged([good, rows([1], [0], [1], nonfinite=1)], Floor("cosine", 0)).bound == -1
