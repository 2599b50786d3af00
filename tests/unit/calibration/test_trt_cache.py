import numpy as np
import onnx
import pytest
from onnx_models import initializer, mlp, random_feed, save

from trtbuild import onnxfile
from trtbuild.artifacts import CalibrationTable, TensorRange, from_json, to_json
from trtbuild.calibration import calibrate
from trtbuild.calibration.trt_cache import (
    CalibrationCache,
    cache_from_table,
    cache_text,
    fit_cache,
    read_cache,
    table_from_cache,
    write_cache,
)
from trtbuild.errors import IntegrityError, OutputError, UsageError
from trtbuild.quantization import place, write_qdq
from trtbuild.reporting import said

MNIST = """TRT-7000-EntropyCalibration2
data: 3c008912
conv1: 3c88edfc
pool1: 3c88edfc
conv2: 3ddc858b
pool2: 3ddc858b
ip1: 3db6bd6e
ip2: 3e691968
prob: 3c010a14
"""
"""The cache that the README of TensorRT 7's sampleINT8 shows."""


@pytest.fixture
def cached(tmp_path):
    """Reads a cache of this text."""

    def read(text, *, newline="\n"):
        path = tmp_path / "my.cache"
        path.write_bytes(text.replace("\n", newline).encode())
        return read_cache(path)

    return read


@pytest.fixture
def graph(tmp_path):
    return onnxfile.stored(save(mlp(), tmp_path / "mlp.onnx"))


def table(**ranges):
    found = {name: TensorRange(amax, -amax, amax, 0.0) for name, amax in ranges.items()}
    return CalibrationTable("graph", "mse", "data", 4, ("a", "b"), synthetic=False, ranges=found)


def test_a_public_cache_is_read(cached):
    found = cached(MNIST)
    assert (found.version, found.algorithm) == ("7000", "EntropyCalibration2")
    assert list(found.scales) == ["data", "conv1", "pool1", "conv2", "pool2", "ip1", "ip2", "prob"]
    assert found.scales["prob"] * 127 == pytest.approx(2048.5 / 2048, rel=1e-7)
    assert found.scales["ip2"] * 127 == pytest.approx(28.90977, rel=1e-6)


def test_a_public_cache_is_written_as_it_was(cached):
    assert cache_text(cached(MNIST)) == MNIST


def test_what_tensorrt_writes_of_tensors_it_named_itself(cached):
    """A tensor without a range has a lone 0; TensorFlow's names have a colon, TensorRT's own have blanks."""
    text = (
        "TRT-101401-EntropyCalibration2\n(Unnamed Layer* 64) [Shuffle]_output: 0\ninput_1:0: 3c010a14\n/a/b: c: 9ad\n"
    )
    found = cached(text)
    assert list(found.scales) == ["(Unnamed Layer* 64) [Shuffle]_output", "input_1:0", "/a/b: c"]
    assert found.scales["(Unnamed Layer* 64) [Shuffle]_output"] == 0
    assert found.scales["/a/b: c"] == float(np.uint32(0x9AD).view(np.float32))
    assert cache_text(found) == text.replace(": 9ad", ": 000009ad")


def test_line_ends_and_blank_lines_do_not_matter(cached):
    assert cached(MNIST, newline="\r\n") == cached(MNIST + "\n\n") == cached(MNIST.rstrip("\n")) == cached(MNIST)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("conv1 3c88edfc", "not a tensor and its scale"),
        ("conv1:3c88edfc", "not a tensor and its scale"),
        ("conv1: 0.0167", "not a tensor and its scale"),
        ("conv1: 3c88edfc0", "not a tensor and its scale"),
        ("conv1: ", "not a tensor and its scale"),
        (": 3c88edfc", "not a tensor and its scale"),
        ("data: 3c88edfc", "'data' has a scale already"),
    ],
)
def test_a_malformed_line_is_named(cached, tmp_path, line, wrong):
    with pytest.raises(UsageError, match=wrong) as caught:
        cached(f"TRT-8601-MinMaxCalibration\ndata: 3c008912\n\n{line}\nprob: 3c010a14\n")
    assert caught.value.place == f"{tmp_path / 'my.cache'}:4"
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b"data: 3c008912\n", b"TRT-8601\n", b"\xff\xfeptrt", b"{}"])
def test_another_file_is_no_cache(tmp_path, content):
    path = tmp_path / "a.plan"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not TensorRT's calibration cache") as caught:
        read_cache(path)
    assert caught.value.place == f"{path}:1"


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_cache(tmp_path / "none.cache")


@pytest.mark.parametrize(
    ("version", "header"),
    [("7.1.3", "7103"), ("8.6.1.6", "8601"), ("8.4.1", "8401"), ("10.3.0", "100300"), ("10.14.1", "101401")],
)
def test_versions_are_run_together_as_tensorrt_does(version, header):
    assert cache_text(cache_from_table(table(), version=version)) == f"TRT-{header}-EntropyCalibration2\n"


@pytest.mark.parametrize(
    ("version", "wrong"), [("10.3", "not a version"), ("8601", "not a version"), ("11.0.0", "no cal")]
)
def test_versions_that_have_no_cache(version, wrong):
    with pytest.raises(UsageError, match=wrong):
        cache_from_table(table(), version=version)


def test_the_algorithm_is_the_readers_not_ours():
    assert cache_from_table(table(), version="8.6.1").algorithm == "EntropyCalibration2"
    assert cache_from_table(table(), version="8.6.1", algorithm="MinMaxCalibration").algorithm == "MinMaxCalibration"
    with pytest.raises(UsageError, match="no calibrator 'mse'"):
        cache_from_table(table(), version="8.6.1", algorithm="mse")


def test_a_range_that_rounds_to_nothing_still_is_one():
    written = cache_from_table(table(x=1e-45, y=127.0), version="8.6.1")
    assert written.scales == {"x": 2.0**-126, "y": 1.0}
    assert cache_text(written).splitlines()[1:] == ["x: 00800000", "y: 3f800000"]


@pytest.mark.parametrize("name", ["two\nlines", ""])
def test_a_name_that_no_line_can_hold(name):
    with pytest.raises(UsageError, match="cannot stand in a cache"):
        cache_text(CalibrationCache("8601", "EntropyCalibration2", {name: 1.0}))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError):
        write_cache(CalibrationCache("8601", "EntropyCalibration2", {}), tmp_path / "none" / "a.cache")


def test_a_measured_table_goes_through_a_cache(graph, tmp_path):
    measured = calibrate(graph, [random_feed(mlp())], method="mse", tensors=["x", "h1", "h2", "h3", "y"])
    path = tmp_path / "out.cache"
    write_cache(cache_from_table(measured, version="10.3.0"), path)
    found = table_from_cache(read_cache(path), graph)
    assert found.graph == measured.graph
    assert found.method == "cache:EntropyCalibration2"
    assert list(found.ranges) == ["x", "h1", "h2", "h3", "y"]
    for name, kept in found.ranges.items():
        assert kept.amax == pytest.approx(measured.ranges[name].amax, rel=1e-7)
        assert {kept.seen_min, kept.seen_max, kept.clipped, kept.mean, kept.outliers} == {None}
    assert (found.samples, found.row_digests, found.synthetic) == (0, (), False)
    assert cache_text(cache_from_table(found, version="10.3.0")).encode() == path.read_bytes()


def test_the_scale_in_the_graph_is_the_one_of_the_cache_bit_by_bit(cached, graph):
    found = cached("TRT-8601-EntropyCalibration2\nx: 3c008912\nh2: 3e691968\n")
    model = onnx.load(str(graph.path))
    amax = {name: kept.amax for name, kept in table_from_cache(found, graph).ranges.items()}
    typed = write_qdq(model, place(model), amax)
    assert initializer(typed, "x/scale").astype(">f4").tobytes().hex() == "3c008912"
    assert initializer(typed, "h2/scale").astype(">f4").tobytes().hex() == "3e691968"


def test_a_table_from_a_cache_survives_json_and_is_told(cached, graph):
    found = table_from_cache(cached("TRT-8601-MinMaxCalibration\nx: 3f800000\nh2: 3c010a14\n"), graph)
    assert from_json(CalibrationTable, to_json(found)) == found
    assert said.calibrate(found) == [
        "cache:MinMaxCalibration, samples not known, 2 tensors",
        "x: keeps 127",
        "h2: keeps 1.0002",
    ]


def test_what_the_cache_says_is_what_the_key_stands_for(cached, graph):
    lines = "TRT-8601-EntropyCalibration2\nx: 3f800000\nh2: 3c010a14\n"
    one, same = (table_from_cache(cached(lines, newline=end), graph) for end in ("\n", "\r\n"))
    assert one.data == same.data
    assert one.data != table_from_cache(cached(lines.replace("3f80", "3f81")), graph).data


def test_names_are_held_against_the_graph(cached):
    found = cached(
        "TRT-8601-EntropyCalibration2\nx: 3f800000\nw1: 3c010a14\nh3: 3c010a14\n(Unnamed Layer* 1): 0\nq: 1\n"
    )
    fit = fit_cache(found, mlp())
    assert fit.ranges == {"x": 127.0, "h3": pytest.approx(1.000244)}
    assert fit.weights == ("w1",)
    assert fit.unknown == ("(Unnamed Layer* 1)", "q")
    assert fit.missing == {"h2": "not in the cache"}
    assert fit_cache(found, mlp(), tensors=["x", "h3"]).missing == {}


def test_a_weight_that_is_listed_as_an_input_is_a_weight_all_the_same(cached):
    proto = mlp()
    proto.graph.input.append(onnx.helper.make_tensor_value_info("w1", onnx.TensorProto.FLOAT, [8, 16]))
    fit = fit_cache(cached("TRT-8601-EntropyCalibration2\nx: 3f800000\nw1: 3c010a14\n"), proto)
    assert (list(fit.ranges), fit.weights) == (["x"], ("w1",))


def test_what_the_graph_lacks_is_told_in_the_notes(cached, graph):
    lines = ["TRT-8601-EntropyCalibration2", "x: 3f800000", "h2: 3c010a14"]
    assert table_from_cache(cached("\n".join(lines)), graph).notes == ()
    few = table_from_cache(cached("\n".join([*lines, "a b: 0", "c: 1"])), graph)
    assert few.notes == ("the graph lacks 2 tensors ('a b', 'c') of the cache",)
    (many,) = table_from_cache(cached("\n".join([*lines, *(f"t{i}: 0" for i in range(9))])), graph).notes
    assert many == "the graph lacks 9 tensors ('t0', 't1', 't2', 't3', 't4', ...) of the cache"


def test_a_tensor_that_the_cache_lacks_is_named_with_the_nearest(cached, graph):
    with pytest.raises(IntegrityError) as caught:
        table_from_cache(cached("TRT-8601-EntropyCalibration2\nx: 3f800000\nh_2: 3c010a14\n"), graph)
    assert caught.value.message == (
        "no range for 1 of the tensors that mlp.onnx needs one of: 'h2' (not in the cache; nearest there: 'h_2')"
    )


@pytest.mark.parametrize(
    ("digits", "scale"), [("0", "0"), ("7f800000", "inf"), ("bf800000", "-1"), ("7fc00000", "nan")]
)
def test_a_scale_that_is_no_range_is_as_good_as_none(cached, graph, digits, scale):
    with pytest.raises(IntegrityError, match=f"'x' .its scale there is {scale}."):
        table_from_cache(cached(f"TRT-8601-EntropyCalibration2\nx: {digits}\nh2: 3c010a14\n"), graph)
    unused = cached(f"TRT-8601-EntropyCalibration2\nx: 3f800000\nh2: 3c010a14\ny: {digits}\n")
    assert list(table_from_cache(unused, graph).ranges) == ["x", "h2"]


def test_a_long_list_is_cut(cached, tmp_path):
    names = [f"t{i}" for i in range(8)]
    with pytest.raises(IntegrityError, match="for 8 of the tensors .*'t4' .*; and 3 more"):
        table_from_cache(
            cached("TRT-8601-EntropyCalibration2\n"), onnxfile.stored(save(mlp(), tmp_path / "m.onnx")), tensors=names
        )
