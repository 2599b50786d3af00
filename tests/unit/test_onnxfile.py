import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import branching, cnn, matmul, mlp, model, node, tensor, weights

from trtbuild import onnxfile
from trtbuild.errors import InvalidOnnxError


def external(path, proto, location="weights.data"):
    onnx.save_model(proto, str(path), save_as_external_data=True, location=location, size_threshold=0)
    return path


def test_inputs_and_outputs_by_name_dtype_and_axes():
    proto = model(
        [node("Relu", ["x"], ["y"])],
        [tensor("x", ["batch", 3, None]), tensor("w", [2], TensorProto.INT64)],
        [("y", ["batch", 3, None])],
        {"w": np.array([1, 2])},
    )
    (spec,) = onnxfile.inputs(proto)
    assert (spec.name, spec.dtype, spec.shape) == ("x", "float32", ("batch", 3, "x_2"))
    assert onnxfile.outputs(proto)[0].shape == ("batch", 3, "y_2")


def test_saving_is_deterministic_and_loads_back(tmp_path):
    first, second = (onnxfile.save(mlp(), tmp_path / name) for name in ("a.onnx", "b.onnx"))
    assert first.sha256 == second.sha256
    assert onnxfile.load(first.path) == mlp()
    assert onnxfile.stored(first.path).digest == first.digest


@pytest.mark.parametrize(
    "content", [b"", b"not onnx at all, only words", b"\x00" * 100], ids=["empty", "words", "zeros"]
)
def test_files_that_are_no_onnx_are_refused(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(InvalidOnnxError) as caught:
        onnxfile.load(tmp_path / "m.onnx")
    assert caught.value.place == str(tmp_path / "m.onnx")
    assert caught.value.hint


def test_a_truncated_file_is_refused(tmp_path):
    data = cnn().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidOnnxError, match="truncated"):
        onnxfile.load(tmp_path / "m.onnx")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InvalidOnnxError, match="no such file"):
        onnxfile.load(tmp_path / "none.onnx")


def test_external_data_is_read_and_is_in_the_digest(tmp_path):
    path = external(tmp_path / "m.onnx", matmul())
    assert numpy_helper.to_array(onnxfile.load(path).graph.initializer[0]).tolist() == weights((4, 4)).tolist()
    before = onnxfile.stored(path)
    assert [c.path.name for c in before.companions] == ["weights.data"]
    data = (tmp_path / "weights.data").read_bytes()
    (tmp_path / "weights.data").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert onnxfile.stored(path).digest != before.digest


def test_missing_external_data_is_named(tmp_path):
    path = external(tmp_path / "m.onnx", matmul())
    (tmp_path / "weights.data").unlink()
    with pytest.raises(InvalidOnnxError, match=r"'weights\.data' is missing"):
        onnxfile.load(path)


@pytest.mark.parametrize("where", ["relative", "absolute", "link"])
def test_external_data_outside_the_models_folder_is_refused(tmp_path, where):
    (tmp_path / "inner").mkdir()
    secret = tmp_path / "secret.data"
    path = external(tmp_path / "inner" / "m.onnx", matmul())
    (tmp_path / "inner" / "weights.data").rename(secret)
    if where == "link":
        (tmp_path / "inner" / "weights.data").symlink_to(secret)
    else:
        proto = onnx.load(str(path), load_external_data=False)
        for entry in proto.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = "../secret.data" if where == "relative" else str(secret)
        path.write_bytes(proto.SerializeToString())
    with pytest.raises(InvalidOnnxError, match="outside the model's folder"):
        onnxfile.load(path)


def test_large_weights_go_to_a_file_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(onnxfile, "EXTERNAL_DATA_ABOVE", 100)
    proto = matmul(64, 64)
    stored = onnxfile.save(proto, tmp_path / "m.onnx")
    assert [c.path.name for c in stored.companions] == ["m.onnx.data"]
    assert onnxfile.load(tmp_path / "m.onnx").graph.initializer[0].raw_data == proto.graph.initializer[0].raw_data
    assert proto == matmul(64, 64), "the model that was saved is left unchanged"


def test_weight_bytes_counts_constants_in_subgraphs_too():
    assert onnxfile.weight_bytes(branching()) == 4 * 4 * 4 + 4 * 4


@pytest.mark.parametrize("make", [mlp, cnn, branching])
def test_sound_models_pass_the_check(make):
    onnxfile.check(make(), "m.onnx")


def test_a_newer_opset_than_onnx_knows_is_refused():
    proto = mlp()
    proto.opset_import[0].version = onnx.defs.onnx_opset_version() + 1
    with pytest.raises(InvalidOnnxError, match="upgrade the onnx package"):
        onnxfile.check(proto, "m.onnx")


def test_a_malformed_graph_is_refused_in_one_line():
    proto = mlp()
    proto.graph.node[1].input[0] = "no_such_tensor"
    with pytest.raises(InvalidOnnxError) as caught:
        onnxfile.check(proto, "m.onnx")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_nan_and_inf_in_a_weight_are_named(bad, dtype):
    values = np.ones((4, 4), dtype)
    values[1, 2] = bad
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = model(
        [node("MatMul", ["x", "w"], ["y"])], [tensor("x", ["n", 4], kind)], [tensor("y", ["n", 4], kind)], {"w": values}
    )
    with pytest.raises(InvalidOnnxError, match="'w' holds NaN or Inf"):
        onnxfile.check(proto, "m.onnx")


def test_nan_in_a_bfloat16_weight_is_named():
    proto = model(
        [node("MatMul", ["x", "w"], ["y"])],
        [tensor("x", ["n", 2], TensorProto.BFLOAT16)],
        [tensor("y", ["n", 1], TensorProto.BFLOAT16)],
    )
    raw = np.array([0x3F80, 0x7FC0], np.uint16).tobytes()  # 1, NaN
    proto.graph.initializer.append(helper.make_tensor("w", TensorProto.BFLOAT16, [2, 1], raw, raw=True))
    with pytest.raises(InvalidOnnxError, match="'w' holds NaN or Inf"):
        onnxfile.check(proto, "m.onnx")


def test_nan_in_a_constant_node_is_refused():
    value = numpy_helper.from_array(np.array([1, np.nan], np.float32), "inner")
    nodes = [node("Constant", [], ["c"], value=value), node("Add", ["x", "c"], ["y"])]
    with pytest.raises(InvalidOnnxError, match="NaN or Inf"):
        onnxfile.check(model(nodes, [("x", ["n", 2])], [("y", ["n", 2])]), "m.onnx")


def test_a_double_beyond_the_range_of_float_is_no_infinity():
    kind = TensorProto.DOUBLE
    nodes = [node("Add", ["x", "w"], ["y"])]
    proto = model(nodes, [tensor("x", [2], kind)], [tensor("y", [2], kind)], {"w": np.array([1e300, -1e300])})
    onnxfile.check(proto, "m.onnx")


def test_minus_infinity_is_how_masks_are_written_and_passes():
    values = np.zeros((2, 2), np.float32)
    values[0, 1] = -np.inf
    onnxfile.check(model([node("Add", ["x", "m"], ["y"])], [("x", [2, 2])], [("y", [2, 2])], {"m": values}), "m.onnx")


def test_opset_is_that_of_the_default_domain():
    proto = mlp()
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 99))
    assert onnxfile.opset(proto) == 17


@pytest.mark.parametrize("make", [mlp, cnn, branching])
def test_a_copy_with_the_same_nodes_and_weights_is_the_same(make):
    proto = make()
    proto.doc_string, proto.graph.doc_string, proto.model_version = "words", "more", 3
    proto.metadata_props.add(key="a", value="b")
    copy = onnxfile.with_graph(proto, proto.graph.node, proto.graph.initializer)
    assert copy == proto
    copy.graph.input[0].name = "other"
    assert proto.graph.input[0].name != "other"


def test_a_lean_check_finds_nan_in_a_large_weight_and_a_wrong_shape(tmp_path):
    values = np.ones((64, 64), "f")
    proto = model([node("MatMul", ["x", "w"], ["y"])], [tensor("x", ["n", 64])], [("y", ["n", 64])], {"w": values})
    good = onnxfile.save(proto, tmp_path / "m.onnx")
    onnxfile.check(onnxfile.outline(good.path), "m", saved=good, lean=True)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 63
    wrong = onnxfile.save(proto, tmp_path / "m.onnx")
    with pytest.raises(InvalidOnnxError, match="checker refuses"):
        onnxfile.check(onnxfile.outline(wrong.path), "m", saved=wrong, lean=True)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 64
    values[5, 7] = np.nan
    proto.graph.initializer[0].raw_data = values.tobytes()
    bad = onnxfile.save(proto, tmp_path / "m.onnx")
    with pytest.raises(InvalidOnnxError, match="'w' holds NaN"):
        onnxfile.check(onnxfile.outline(bad.path), "m", saved=bad, lean=True)
