import numpy as np
import onnx
import pytest
from onnx_models import cnn, random_feed, run, save
from onnx_text import parsed

from trtbuild import onnxfile, onnxrun, onnxwire
from trtbuild.errors import InvalidOnnxError


@pytest.fixture
def path(tmp_path):
    proto = parsed(
        """g (float[n,64] x) => (float[n,64] y) <float[2] small = {1, 2}> {
            a = MatMul (x, w)
            b = MatMul (a, v)
            y = Add (b, c)
        }"""
    )
    random = np.random.default_rng(0)
    for name, shape in (("w", (64, 65)), ("v", (65, 64)), ("c", (64,))):
        values = random.normal(size=shape).astype("f")
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return save(proto, tmp_path / "m.onnx")


def test_large_weights_stay_in_the_file_and_are_found_in_it(path):
    light, whole = onnxfile.outline(path), onnx.load(path)
    assert [bool(t.external_data) for t in light.graph.initializer] == [False, True, True, False]
    assert light.ByteSize() < whole.ByteSize() / 10
    onnx.load_external_data_for_model(light, str(path.parent))
    for mine, theirs in zip(light.graph.initializer, whole.graph.initializer, strict=True):
        assert mine.name == theirs.name
        assert (onnx.numpy_helper.to_array(mine) == onnx.numpy_helper.to_array(theirs)).all()
    del light.graph.initializer[:], whole.graph.initializer[:]
    assert light == whole


@pytest.mark.parametrize("shift", range(4))
def test_a_session_reads_them_there_wherever_they_begin(path, shift):
    proto = onnx.load(path)
    proto.doc_string = "x" * shift  # moves all that follows
    data = proto.SerializeToString()
    path.write_bytes(data)
    feed = {"x": np.random.default_rng(1).normal(size=(3, 64)).astype("f")}
    model, folder = onnxfile.with_weights_on_disk(path, path.parent / "none")
    found = onnxrun.run(onnxrun.session(model, folder=folder), feed)
    assert (found["y"] == run(proto, feed)["y"]).all()
    assert path.read_bytes() == data


def test_a_link_is_followed_to_the_file_with_the_weights(path, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.onnx"
    link.symlink_to(path)
    model, folder = onnxfile.with_weights_on_disk(link, tmp_path)
    feed = {"x": np.ones((1, 64), "f")}
    found = onnxrun.run(onnxrun.session(model, folder=folder), feed)
    assert (found["y"] == run(onnx.load(path), feed)["y"]).all()


def test_a_file_and_its_digest_are_the_same_either_way(path, tmp_path):
    stored = onnxfile.stored(path)
    assert stored.companions == ()
    onnx.save_model(onnx.load(path), tmp_path / "e.onnx", save_as_external_data=True, location="e.data")
    assert [c.path.name for c in onnxfile.stored(tmp_path / "e.onnx").companions] == ["e.data"]
    assert onnxfile.outline(tmp_path / "e.onnx") == onnxfile.load(tmp_path / "e.onnx", weights=False)


def test_weights_in_typed_fields_stay_in_memory(tmp_path):
    proto = cnn()
    for tensor in proto.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.ClearField("raw_data")
            tensor.float_data.extend(values.ravel().tolist())
    path = save(proto, tmp_path / "m.onnx")
    assert onnxfile.outline(path) == onnx.load(path)
    model, folder = onnxfile.with_weights_on_disk(path, tmp_path)
    feed = random_feed(proto)
    assert (onnxrun.run(onnxrun.session(model, folder=folder), feed)["y"] == run(proto, feed)["y"]).all()


@pytest.mark.parametrize("content", [b"\x0b", b"\xff" * 11, b"\x3a\x7f\x00", b"not an ONNX file"])
def test_what_it_does_not_understand_is_left_to_protobuf(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert onnxwire.outline(path, 0) is None
    for read in (onnxfile.outline, onnxfile.stored):
        with pytest.raises(InvalidOnnxError):
            read(path)


def test_a_file_cut_short_is_refused(path):
    data = path.read_bytes()
    for size in (len(data) - 1, len(data) // 2, 40):
        path.write_bytes(data[:size])
        with pytest.raises(InvalidOnnxError):
            onnxfile.outline(path)


@pytest.mark.parametrize("read", [onnxfile.outline, onnxfile.stored])
def test_a_missing_or_an_empty_file_is_refused(tmp_path, read):
    with pytest.raises(InvalidOnnxError, match="no such file"):
        read(tmp_path / "gone.onnx")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(InvalidOnnxError, match="empty"):
        read(tmp_path / "empty.onnx")


def whole(path):
    """What lies in a file, written anew with all weights in memory."""
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:
        tensor.ClearField("data_location")  # onnx.load says so where it read another file
    return proto.SerializeToString(deterministic=True)


@pytest.mark.parametrize("fields", ["plain", "more"])
def test_weights_are_put_back_as_protobuf_would_write_them(path, fields):
    proto = onnx.load(path)
    if fields == "more":  # fields before and after those that change, in the model, the graph and the tensors
        proto.doc_string, proto.producer_name = "words", "us"
        proto.graph.doc_string = "x" * 300
        proto.metadata_props.add(key="a", value="b")
        for tensor in proto.graph.initializer:
            tensor.doc_string = "of a weight"
            tensor.metadata_props.add(key="c", value="d" * 200)
    save(proto, path)
    light, folder = onnxfile.outlined(path)
    assert sum(bool(t.external_data) for t in light.graph.initializer) == 2
    written = onnxfile.save_whole(light, path.with_name("again.onnx"), folder)
    assert written.path.read_bytes() == proto.SerializeToString(deterministic=True)
    assert written.companions == ()


def test_weights_come_from_a_data_file_and_through_a_link(path, tmp_path):
    onnx.save_model(onnx.load(path), tmp_path / "e.onnx", save_as_external_data=True, location="e.data")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.onnx").symlink_to(path)
    for source in (tmp_path / "e.onnx", tmp_path / "elsewhere" / "link.onnx"):
        light, folder = onnxfile.outlined(source)
        assert onnxfile.save_whole(light, tmp_path / "w.onnx", folder).path.read_bytes() == whole(path)


def over_itself(path):
    light, folder = onnxfile.outlined(path)
    return onnxfile.save_whole(light, path, folder)


def test_a_model_is_written_over_itself(path):
    wanted = whole(path)
    over_itself(path)
    assert path.read_bytes() == wanted
    assert [f.name for f in path.parent.iterdir()] == ["m.onnx"]


def test_too_many_weights_for_one_file_go_to_another_and_over_themselves(path, monkeypatch):
    monkeypatch.setattr(onnxfile, "EXTERNAL_DATA_ABOVE", 20_000)
    wanted = whole(path)
    for _ in range(2):  # the second time they come from the very file that they go to
        written = over_itself(path)
        assert [c.path.name for c in written.companions] == ["m.onnx.data"]
        assert whole(path) == wanted


def test_a_data_file_that_ends_too_soon_is_refused(path, tmp_path):
    onnx.save_model(onnx.load(path), tmp_path / "e.onnx", save_as_external_data=True, location="e.data")
    data = (tmp_path / "e.data").read_bytes()
    (tmp_path / "e.data").write_bytes(data[:-1])
    with pytest.raises(InvalidOnnxError, match="ends before weight"):
        onnxfile.outline(tmp_path / "e.onnx")
