import numpy as np
import onnx
import pytest
from onnx_models import cnn, matmul, mlp, model, node, random_feed, run, save, weights

from trtbuild import onnxfile
from trtbuild.artifacts import CalibrationTable, TensorSpec, from_json, to_json
from trtbuild.calibration import calibrate, every_float_tensor
from trtbuild.errors import FeedError, ModelError, UsageError
from trtbuild.feeds import Samples


def feeds(*values, width=4):
    return [{"x": np.full((2, width), v, np.float32)} for v in values]


@pytest.fixture
def path(tmp_path):
    return save(matmul(), tmp_path / "m.onnx")


def test_ranges_are_those_of_the_tensors(path):
    table = calibrate(path, feeds(0.5, -3.0, 2.0), method="minmax")
    assert list(table.ranges) == ["x"]
    found = table.ranges["x"]
    assert (found.amax, found.seen_min, found.seen_max, found.clipped) == (3, -3, 2, 0)
    assert (table.method, table.samples, table.synthetic) == ("minmax", 6, False)
    assert len(table.row_digests) == 6


def test_inner_tensors_hold_what_the_model_computes(tmp_path):
    proto = cnn()
    path = save(proto, tmp_path / "m.onnx")
    feed = random_feed(proto)
    table = calibrate(path, [feed], method="minmax")
    assert list(table.ranges) == ["x", "r1", "f"]
    exposed = cnn()
    exposed.graph.output.append(onnx.ValueInfoProto(name="r1"))
    assert table.ranges["r1"].amax == pytest.approx(float(run(exposed, feed)["r1"].max()), rel=1e-6)


def test_the_table_belongs_to_the_graph_and_the_samples(path):
    one, same, other = (calibrate(path, feeds(v), method="minmax") for v in (1.0, 1.0, 2.0))
    assert one == same
    assert one.data != other.data
    assert one.graph == other.graph == onnxfile.stored(path).digest


def test_order_of_samples_changes_nothing(path):
    values = np.random.default_rng(0).normal(size=8)
    left, right = (calibrate(path, feeds(*order), method="entropy") for order in (values, values[::-1]))
    assert left.ranges["x"].amax == right.ranges["x"].amax
    assert left.ranges["x"].mean == pytest.approx(right.ranges["x"].mean, rel=1e-12)
    assert left.data == right.data


def test_tensors_can_be_named(tmp_path):
    table = calibrate(save(mlp(), tmp_path / "m.onnx"), feeds(1.0, width=8), method="minmax", tensors=["h1", "y"])
    assert list(table.ranges) == ["h1", "y"]


def test_a_tensor_that_is_always_zero_gets_some_range(path):
    found = calibrate(path, feeds(0.0)).ranges["x"]
    assert (found.amax, found.clipped) == (1, 0)


def test_a_model_without_matrix_work_has_an_empty_table(tmp_path):
    proto = model([node("Relu", ["x"], ["y"])], [("x", ["n", 4])], [("y", ["n", 4])])
    table = calibrate(save(proto, tmp_path / "m.onnx"), feeds(1.0))
    assert table.ranges == {}
    assert table.samples == 2


def test_products_of_two_activations_are_not_measured(tmp_path):
    proto = model([node("MatMul", ["x", "x"], ["y"])], [("x", [4, 4])], [("y", [4, 4])])
    assert calibrate(save(proto, tmp_path / "m.onnx"), [{"x": np.ones((4, 4), "f")}]).ranges == {}


def test_rows_are_told_as_they_are_done(path):
    told = []
    calibrate(path, feeds(1, 2, 3), method="mse", on_sample=told.append)
    assert told == [2, 4, 6]


def test_random_samples_are_marked(path, tmp_path):
    samples = Samples("random", (TensorSpec("x", "float32", ("n", 4)),), tmp_path, 4)
    assert calibrate(path, samples).synthetic


def test_no_sample_is_an_error(path):
    with pytest.raises(FeedError, match="no sample"):
        calibrate(path, [])


def test_a_sample_that_does_not_fit_is_an_error_with_its_number(path):
    with pytest.raises(FeedError) as caught:
        calibrate(path, [*feeds(1.0), {"y": 1}])
    assert caught.value.place == "sample 1"


def test_all_tensors_that_turn_infinite_are_named_and_counted(tmp_path):
    nodes = [node("Exp", ["x"], ["e"]), node("MatMul", ["e", "w"], ["y"]), node("MatMul", ["y", "w2"], ["z"])]
    proto = model(nodes, [("x", ["n", 4])], [("z", ["n", 2])], {"w": weights((4, 2)), "w2": weights((2, 2))})
    with pytest.raises(ModelError, match="2 tensors turn NaN or Inf") as caught:
        calibrate(save(proto, tmp_path / "m.onnx"), feeds(1.0, 1000.0), method="mse")
    assert "'e': 8 values, first on sample 1" in caught.value.message
    assert "'y': 4 values, first on sample 1" in caught.value.message


def test_the_input_file_is_left_as_it_is(tmp_path):
    path = save(cnn(), tmp_path / "m.onnx")
    before = path.read_bytes()
    calibrate(path, [random_feed(cnn())])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_moments_are_those_of_the_values(path):
    values = np.random.default_rng(1).normal(3, 2, (512, 4)).astype("f")
    found = calibrate(path, [{"x": values[:100]}, {"x": values[100:]}], method="mse")
    assert found.ranges["x"].mean == pytest.approx(float(values.mean()), rel=1e-6)
    assert found.channels["x"].amax == pytest.approx(np.abs(values).max(axis=0).tolist())
    assert found.channels["x"].mean == pytest.approx(values.mean(axis=0).tolist(), rel=1e-5)


def test_the_share_of_outliers_is_counted(path):
    values = np.random.default_rng(1).normal(0, 1, (1000, 4)).astype("f")
    values[:2, 0] = 40
    assert calibrate(path, [{"x": values}], method="minmax").ranges["x"].outliers == pytest.approx(2 / 4000)


def test_an_unknown_method_is_an_error_with_the_nearest(path):
    with pytest.raises(UsageError, match="did you mean 'entropy'"):
        calibrate(path, feeds(1.0), method="entopy")


def test_a_table_survives_json(path):
    table = calibrate(path, feeds(1.0, 2.0))
    assert from_json(CalibrationTable, to_json(table)) == table


def test_an_extra_tensor_that_turns_infinite_is_left_out_and_named(tmp_path):
    nodes = [node("Exp", ["x"], ["e"]), node("Min", ["e", "top"], ["m"]), node("MatMul", ["m", "w"], ["y"])]
    constants = {"w": weights((4, 2)), "top": np.array(9, "f")}
    path = save(model(nodes, [("x", ["n", 4])], [("y", ["n", 2])], constants), tmp_path / "m.onnx")
    stored = onnxfile.stored(path)
    for method in ("mse", "auto"):
        table = calibrate(stored, feeds(1000.0, 1.0, 2.0), method=method, extra=every_float_tensor(stored))
        assert list(table.ranges) == ["m", "x", "y"]
        assert "no range for 'e': NaN or Inf was seen there" in table.notes
