import numpy as np
import pytest
from onnx_models import matmul, model, node, random_feed, save, weights

from trtbuild.artifacts import CalibrationTable
from trtbuild.calibration import calibrate
from trtbuild.calibration.methods.auto import CANDIDATES, choose


def chosen(**decibels):
    tables = {name: CalibrationTable("g", name, "d", 1, ("r",), False, {}) for name in CANDIDATES}
    return choose(tables.__getitem__, lambda table: decibels[table.method], rows=3)


def test_the_highest_wins_and_the_note_says_why():
    found = chosen(mse=20.0, percentile=21.5, entropy=-3.0, minmax=19.0)
    assert found.method == "percentile"
    assert found.notes == (
        "auto chose percentile: 21.5 dB SQNR on 3 rows kept apart, against mse 20.0, entropy -3.0, minmax 19.0",
    )


def test_the_first_wins_a_tie():
    assert chosen(**dict.fromkeys(CANDIDATES, 7.0)).method == CANDIDATES[0]


def test_it_is_measured_on_rows_that_no_threshold_was_made_from(tmp_path):
    """The rows that judge hold values a hundred times as large: who clips to the others' range loses."""
    path = save(matmul(), tmp_path / "m.onnx")
    random = np.random.default_rng(0)
    values = random.normal(size=(64, 4)).astype("f")
    values[1::4] *= 100
    feeds = [{"x": values[:5]}, {"x": values[5:40]}, {"x": values[40:]}]
    table = calibrate(path, feeds)
    assert table.ranges["x"].amax < 10
    assert len(table.row_digests) == table.samples == 64


def test_one_sample_is_not_measured_and_it_says_so(tmp_path):
    table = calibrate(save(matmul(), tmp_path / "m.onnx"), [random_feed(matmul(), n=1)])
    assert (table.method, table.notes) == ("mse", ("auto took mse without measuring: there is one sample only",))


@pytest.mark.parametrize("method", CANDIDATES)
def test_another_method_is_not_overruled(tmp_path, method):
    proto = model([node("MatMul", ["x", "w"], ["y"])], [("x", ["n", 4])], [("y", ["n", 2])], {"w": weights((4, 2))})
    feeds = [random_feed(proto, seed=s) for s in range(4)]
    assert calibrate(save(proto, tmp_path / "m.onnx"), feeds, method=method).method == method
