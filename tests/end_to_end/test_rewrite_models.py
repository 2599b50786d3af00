"""Architectures whose opset-23 exports TensorRT-RTX does not build as they are, or builds in more kernels.

`make bench-rewrite` holds all of them; these few stand for them: an encoder, a decoder with rotary embeddings and
grouped queries, and a convolutional net.
"""

import importlib
from pathlib import Path

import pytest

from trtbuild.errors import ModelError
from trtbuild.rewriter import rewrite

pytestmark = pytest.mark.slow
BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("models"), importlib.import_module("kernels")


@pytest.mark.parametrize(
    ("name", "ratio"), [("bert.dynamo23", 0.9), ("llama.dynamo23", None), ("efficientnet.dynamo23", None)]
)
def test_it_builds_equal_to_torch_and_in_fewer_kernels(bench, name, ratio, tmp_path):
    models, kernels = bench
    (model,) = models.corpus(tmp_path / "models", [name])
    assert model.error == ""
    folders = {word: tmp_path / word for word in ("rewritten", "fp32", "fp16", "original")}
    for folder in folders.values():
        folder.mkdir()
    done = rewrite(model.onnx, folders["rewritten"], backend="tensorrt_rtx", profiles=kernels.profiles(model.onnx))
    assert done.unbuildable == ()
    assert not any(note.startswith("undone") for note in done.notes)
    assert models.furthest(done.model.path, model.feeds) < 2e-5
    assert kernels.count(done.model.path, folders["fp32"], "fp32").count > 0
    ours = kernels.count(done.model.path, folders["fp16"], "fp16").count
    if ratio is None:  # as it is, TensorRT does not take it
        with pytest.raises(ModelError):
            kernels.count(model.onnx, folders["original"], "fp16")
    else:
        assert ours <= ratio * kernels.count(model.onnx, folders["original"], "fp16").count
