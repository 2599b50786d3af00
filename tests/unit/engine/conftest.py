import sys

import pytest
from fake_tensorrt import FakeTensorRT
from onnx_models import matmul, save

from trtbuild import device
from trtbuild.device import Gpu


@pytest.fixture
def fake(monkeypatch):
    """Puts a release in TensorRT's place, on a machine whose GPU it can build for."""
    monkeypatch.setattr(device, "gpus", lambda: (Gpu("GPU 0", "8.9", "580.0", 24000),))

    def make(release, **how):
        module = FakeTensorRT(release, **how)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return module

    return make


@pytest.fixture(scope="module")
def onnx(tmp_path_factory):
    return save(matmul(8, 8), tmp_path_factory.mktemp("releases") / "m.onnx")
