"""Models whose weights lie in a data file: read one at a time, copied, and never held twice."""

import numpy as np
import onnx
import pytest
from onnx_models import cnn, model, node, same_outputs, save, weights

from trtbuild import onnxfile
from trtbuild.rewriter import rewrite


def external(proto, path):
    onnx.save_model(proto, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    monkeypatch.setattr(onnxfile, "is_large", lambda _path: True)


@pytest.mark.parametrize("prove", [False, True])
def test_a_large_model_is_rewritten_proved_and_saved_beside_its_data(tmp_path, prove):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    done = rewrite(external(cnn(), tmp_path / "in" / "m.onnx"), tmp_path / "out", prove=prove)
    assert [e.rule for e in done.applied if e.rule != "clean_up"] == ["conv_batchnorm"]
    assert done.notes == ()
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"rewritten.onnx", "rewritten.onnx.data"}
    after = onnxfile.load(done.model.path)
    onnx.checker.check_model(str(done.model.path), full_check=True)
    assert same_outputs(cnn(), after, atol=1e-5)


def test_weights_that_no_rule_looks_into_are_not_read(tmp_path, monkeypatch):
    proto = model(
        [node("MatMul", ["x", "w"], ["a"]), node("Dropout", ["a"], ["y"])],
        [("x", ["n", 64])],
        [("y", ["n", 64])],
        {"w": weights((64, 64))},
    )
    (tmp_path / "out").mkdir()
    path = external(proto, tmp_path / "m.onnx")
    read = []
    real = onnxfile.values
    monkeypatch.setattr(onnxfile, "values", lambda t, folder: read.append(t.name) or real(t, folder))
    done = rewrite(path, tmp_path / "out", check=False)
    assert read.count("w") <= 3  # looked through for NaN before and after, and copied once
    assert np.array_equal(
        onnx.numpy_helper.to_array(onnxfile.load(done.model.path).graph.initializer[0]), weights((64, 64))
    )


def test_what_lies_in_one_file_stays_in_one(tmp_path):
    done = rewrite(save(cnn(), tmp_path / "m.onnx"), tmp_path)
    assert [f.name for f in tmp_path.iterdir() if f.suffix == ".data"] == []
    assert done.model.path.exists()
