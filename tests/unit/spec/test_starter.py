import json

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import cnn, mlp, model, node, save, tensor

from trtbuild.errors import TrtbuildError, UsageError
from trtbuild.spec import load_spec
from trtbuild.spec.starter import starter


def written(tmp_path, source):
    (tmp_path / "trtbuild.yaml").write_text(starter(source, tmp_path))
    return load_spec(tmp_path / "trtbuild.yaml", environment={})


def test_of_an_onnx_file(tmp_path):
    spec = written(tmp_path, str(save(cnn(), tmp_path / "my net.onnx")))
    assert (spec.model.name, spec.model.source) == ("my_net", "my net.onnx")
    assert [(t.name, t.dtype, t.shape) for t in spec.input_tensors()] == [("x", "float32", ("n", 2, 6, 6))]
    assert set(spec.optimization_profiles()[0].axes) == {"n"}


def test_of_an_onnx_file_elsewhere(tmp_path):
    (tmp_path / "specs").mkdir()
    path = save(mlp(), tmp_path / "m.onnx")
    assert written(tmp_path / "specs", str(path)).model.source == str(path)


def test_of_an_onnx_file_with_odd_names_and_axes(tmp_path):
    inputs = [tensor("in: put/0", ["batch*2", 3, None, "1st"]), tensor("on", [4], TensorProto.BOOL)]
    nodes = [node("Relu", ["in: put/0"], ["y"]), node("Not", ["on"], ["z"])]
    proto = model(nodes, inputs, [("y", None), tensor("z", [4], TensorProto.BOOL)])
    spec = written(tmp_path, str(save(proto, tmp_path / "m.onnx")))
    first, second = spec.input_tensors()
    assert (first.name, second.shape) == ("in: put/0", (4,))
    assert all(d.isidentifier() for d in first.shape if isinstance(d, str))
    assert first.shape[1] == 3


def test_of_an_onnx_file_without_dynamic_axes(tmp_path):
    proto = model([node("Relu", ["x"], ["y"])], [("x", [2, 3])], [("y", [2, 3])], {"w": np.ones(1, np.float32)})
    assert written(tmp_path, str(save(proto, tmp_path / "m.onnx"))).profiles == []


def test_of_a_hugging_face_folder(tmp_path):
    (tmp_path / "all-MiniLM").mkdir()
    (tmp_path / "all-MiniLM" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    spec = written(tmp_path, str(tmp_path / "all-MiniLM"))
    assert (spec.model.name, spec.model.source) == ("all-MiniLM", "all-MiniLM")
    assert [t.name for t in spec.input_tensors()] == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("reference", ["models.py:load", "my_package.models:load"])
def test_of_a_callable(tmp_path, reference):
    assert written(tmp_path, reference).model.source == reference


def test_of_something_else(tmp_path):
    with pytest.raises(UsageError, match="neither"):
        starter("no_such_thing", tmp_path)
    with pytest.raises(TrtbuildError, match="no such file"):
        starter("none.onnx", tmp_path)
