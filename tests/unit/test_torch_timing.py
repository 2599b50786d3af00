"""A PyTorch module beside an ONNX file in the bench; torch comes in as a callable of the exporters'."""

import numpy as np
import pytest
from onnx_models import matmul, save
from plan_values import profile

from trtbuild.artifacts import TensorSpec
from trtbuild.benchmark import Variant, bench
from trtbuild.errors import ExportError

torch = pytest.importorskip("torch")
from trtbuild.exporters.timed import timed  # noqa: E402

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="tests/gpu times torch where it has a GPU")
INPUTS = (TensorSpec("x", "float32", ("n", 4)),)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.modes = []

    def forward(self, x):
        self.modes.append((self.training, torch.is_inference_mode_enabled(), tuple(x.shape)))
        return {"y": torch.relu(self.linear(x))}


def test_a_module_takes_turns_with_an_onnx_file(tmp_path):
    net = Net()
    device, prepare = timed(net, ["x"], "net.py:load")
    variant = Variant("torch", INPUTS, prepare, device)
    done = bench(
        {"onnx": save(matmul(), tmp_path / "m.onnx")},
        variants=[variant],
        profiles=(profile(n=(1, 2, 4)),),
        runs=3,
        warm_up=1,
    )
    assert device == "CPU"
    assert [t.subject for t in done.timings] == ["onnx (ONNX Runtime, CPU)", "torch"] * 3
    assert {shape for _, _, shape in net.modes} == {(1, 4), (2, 4), (4, 4)}
    assert {(training, inference) for training, inference, _ in net.modes} == {(False, True)}
    assert all(t.latency.p50 > 0 for t in done.timings)


def test_compiled_runs_what_torch_compile_made(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or (lambda *x: compiled.append(x)))
    _device, prepare = timed(Net(), ["x"], "net.py:load", compiled=True)
    prepare({"x": np.zeros((2, 4), np.float32)})()
    assert len(compiled) == 2
    assert compiled[1][0].shape == (2, 4)


def test_a_module_that_fails_names_its_source():
    _device, prepare = timed(Net(), ["x"], "net.py:load")
    with pytest.raises(ExportError, match="net.py:load"):
        prepare({"x": np.zeros((2, 5), np.float32)})()
