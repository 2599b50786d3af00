import threading

import numpy as np
import pytest
from onnx_models import cnn, random_feed, save
from onnx_text import parsed

from trtbuild import onnxfile, onnxrun
from trtbuild.artifacts import to_json
from trtbuild.calibration import Wanted, collect, collector, table_from
from trtbuild.calibration.portions import Portions
from trtbuild.cli.calibrate import run as calibrate_command
from trtbuild.errors import InvalidOnnxError
from trtbuild.feeds import checked
from trtbuild.pieces import Pieces
from trtbuild.quantization import place, write_qdq
from trtbuild.spec.model import CalibrationSpec

WANTED = Wanted(("x", "r1", "f"), ranges=("y",), channels={"x": 1, "f": -1})
ROWWISE = "g (float[n,8] x) => (float[n,8] y) { a = Relu (x)  b = Softmax <axis = 1> (a)  y = Add (a, b) }"
OVER_ROWS = "g (float[n,8] x) => (float[n,8] y) { a = Relu (x)  b = Softmax <axis = 0> (a)  y = Add (a, b) }"
TURNED = "g (float[n,8] x) => (float[8,n] y) { a = Relu (x)  b = Transpose (a)  y = Neg (b) }"
WITHOUT_BATCH = """
g (float[n,8] x) => (float[n,8] y) <float[4] c = {1, 2, 3, 4}> { a = Neg (c)  b = ReduceSum (a)  y = Add (x, b) }
"""


def sizes(text, tmp_path, rows, size, tensors=("a", "b")):
    path = save(parsed(text), tmp_path / "m.onnx")
    proto, folder = onnxfile.with_weights_on_disk(path, tmp_path)
    inputs = onnxfile.inputs(proto)
    portions = Portions(inputs, Pieces(proto, folder, tensors, 1e9), size)
    (sample,) = checked([{"x": np.asarray(rows, "f")}], inputs)
    cut = [portion.feed["x"] for portion in portions.of(sample)]
    assert (np.concatenate(cut) == sample.feed["x"]).all()
    return [len(each) for each in cut]


def rows(count):
    return np.random.default_rng(0).normal(size=(count, 8))


@pytest.mark.parametrize(("size", "wanted"), [(1e9, [7]), (64 * 7, [7]), (64 * 3, [2, 2, 3]), (1, [1] * 7)])
def test_a_portion_takes_as_many_rows_as_fit(tmp_path, size, wanted):
    assert sizes(ROWWISE, tmp_path, rows(7), size) == wanted


@pytest.mark.parametrize("text", [TURNED, WITHOUT_BATCH])
def test_rows_are_told_apart_where_the_batch_is_not_in_front(tmp_path, text):
    assert sizes(text, tmp_path, rows(4), 1) == [1] * 4


def test_rows_that_depend_on_each_other_stay_together(tmp_path):
    assert sizes(OVER_ROWS, tmp_path, rows(7), 1) == [7]
    same_first = np.concatenate([rows(1), rows(5)])  # the first two rows are equal: the check takes another
    assert sizes(OVER_ROWS, tmp_path, same_first, 1) == [6]


def test_equal_rows_say_nothing_about_others(tmp_path):
    assert sizes(ROWWISE, tmp_path, np.ones((4, 8)), 1) == [4]


def model(tmp_path, proto=None):
    return onnxfile.stored(save(proto or cnn(), tmp_path / "m.onnx"))


def counted(found):
    return {
        n: (t.low, t.high, t.count, t.total, t.squares, t.histogram and t.histogram.counts.tolist())
        for n, t in found.tensors.items()
    }


def test_the_number_of_lanes_changes_no_bit(tmp_path, monkeypatch):
    stored = model(tmp_path)
    feeds = [random_feed(cnn(), n=n, seed=n) for n in (5, 1, 8, 3)]
    monkeypatch.setattr(collector, "PORTION", 3000)
    found = []
    for lanes in (1, 2, 5):
        monkeypatch.setattr(collector, "_lanes", lambda _budget, lanes=lanes: (lanes, 1))
        found.append(collect(stored, feeds, WANTED))
    assert counted(found[0]) == counted(found[1]) == counted(found[2])
    assert to_json(table_from(found[0], "mse")) == to_json(table_from(found[2], "mse"))


@pytest.mark.parametrize("method", ["entropy", "mse", "percentile", "minmax"])
def test_batches_order_and_portions_change_no_scale(tmp_path, monkeypatch, method):
    stored = model(tmp_path)
    whole = random_feed(cnn(), n=32)["x"]
    base = table_from(collect(stored, [{"x": whole}], WANTED), method)
    for portion in (2000, 10_000):
        monkeypatch.setattr(collector, "PORTION", portion)
        for batch in (1, 7, 32):
            feeds = [{"x": whole[i : i + batch]} for i in range(0, 32, batch)]
            table = table_from(collect(stored, feeds[::-1], WANTED), method)
            assert table.data == base.data
            for name, found in table.ranges.items():
                assert found.amax == pytest.approx(base.ranges[name].amax, rel=1e-6), name


def test_nan_is_found_in_its_sample_and_counted_once(tmp_path, monkeypatch):
    monkeypatch.setattr(collector, "PORTION", 1)
    stored = model(tmp_path, parsed("g (float[n,8] x) => (float[n,8] y) { a = Sqrt (x)  y = Neg (a) }"))
    feeds = [{"x": np.abs(rows(3)).astype("f")} for _ in range(4)]
    feeds[2]["x"][1, :5] = -1
    found = collect(stored, feeds, Wanted(("a",))).tensors["a"]
    assert (found.nonfinite, found.first_nonfinite, found.count) == (5, 2, 4 * 24 - 5)


def test_a_reader_may_use_its_array_again(tmp_path, monkeypatch):
    monkeypatch.setattr(collector, "_lanes", lambda _budget: (3, 1))
    stored = model(tmp_path, parsed(ROWWISE))
    array = np.empty((2, 8), "f")

    def reader():
        for value in range(40):
            array[:] = value
            yield {"x": array}

    found = collect(stored, reader(), Wanted(("a",))).tensors["a"]
    assert found.total == 16 * sum(range(40))


def test_an_error_in_a_lane_ends_the_run_and_its_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(collector, "_lanes", lambda _budget: (3, 1))
    stored = model(tmp_path, parsed("g (float[n,m] x) => (float[n,2] y) <int64[2] s = {-1, 2}> { y = Reshape (x, s) }"))
    feeds = [{"x": np.ones((1, 4 if number != 5 else 3), "f")} for number in range(50)]
    with pytest.raises(InvalidOnnxError, match="Reshape"):
        collect(stored, feeds, Wanted(("y",)))
    assert not [t for t in threading.enumerate() if t.name.startswith("trtbuild-calibrate")]


def test_rows_are_told_in_order_when_they_are_done(tmp_path, monkeypatch):
    monkeypatch.setattr(collector, "PORTION", 1)
    told = []
    collect(model(tmp_path), [random_feed(cnn(), n=n) for n in (3, 1, 5)], WANTED, on_sample=told.append)
    assert told == [3, 4, 9]


def quantised():
    placement = place(cnn())
    return write_qdq(cnn(), placement, dict.fromkeys(placement.tensors, 3.0))


@pytest.mark.parametrize(
    ("proto", "optimised"),
    [(cnn(), True), (quantised(), False), (parsed(ROWWISE), False)],
    ids=["conv", "q/dq", "none"],
)
def test_only_convolutions_without_pairs_are_left_to_onnx_runtime(tmp_path, monkeypatch, proto, optimised):
    made = []
    real = onnxrun.session
    monkeypatch.setattr(onnxrun, "session", lambda *a, **k: made.append(k["optimise"]) or real(*a, **k))
    collect(model(tmp_path, proto), [random_feed(proto, n=2)], Wanted(("x", proto.graph.node[-1].output[0])))
    assert set(made) == {optimised}


def test_the_budget_is_the_same_wherever_it_is_said():
    (option,) = (o for o in calibrate_command.params if o.name == "budget_mb")
    assert option.default == CalibrationSpec.model_fields["budget_mb"].default == collector.BUDGET_MB
