"""What only writes a graph leaves the weights where they lie, and writes the same."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx_models import model, node, save, tensor, weights

from trtbuild import onnxfile
from trtbuild.calibration import calibrate
from trtbuild.precision import assign_precision

WIDTH = 48  # squared, more bytes than are kept in memory
ABOUT = """
import re, sys
from pathlib import Path
from trtbuild.precision import assign_precision

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

for number, source in enumerate(sys.argv[3:]):
    before = peak()
    Path(sys.argv[2], str(number)).mkdir()
    assign_precision(source, Path(sys.argv[2], str(number)), precision=sys.argv[1], rest="fp32")
print(peak() - before)
"""


def network(rows=2000):
    """A table, of which rows are taken, and two products."""
    nodes = [
        node("Gather", ["table", "ids"], ["x"], "look"),
        node("MatMul", ["x", "w1"], ["a"], "fc1"),
        node("Relu", ["a"], ["r"], "relu"),
        node("MatMul", ["r", "w2"], ["y"], "fc2"),
    ]
    constants = {"table": weights((rows, WIDTH), 0), "w1": weights((WIDTH, WIDTH), 1), "w2": weights((WIDTH, WIDTH), 2)}
    return model(nodes, [tensor("ids", ["n"], onnx.TensorProto.INT64)], [("y", ["n", WIDTH])], constants, opset=21)


@pytest.mark.parametrize("place", ["inside", "beside"])
@pytest.mark.parametrize(
    ("precision", "rest"),
    [("int8", "fp32"), ("int8", "fp16"), ("fp16", "fp16"), ("bf16", "bf16"), ("int8_weights", "fp16"), ("fp8", "fp16")],
)
def test_the_graph_is_the_same_with_the_weights_in_memory(tmp_path, monkeypatch, precision, rest, place):
    source = save(network(), tmp_path / "m.onnx")
    if place == "beside":
        onnx.save_model(onnx.load(source), source, save_as_external_data=True, location="m.data", size_threshold=1024)
    before = source.read_bytes()
    table = calibrate(source, [{"ids": np.arange(64)}], method="minmax")
    written = []
    for way in ("disk", "memory"):
        if way == "memory":
            monkeypatch.setattr(onnxfile, "outlined", lambda path: (onnxfile.load(path), path.parent))
        (tmp_path / way).mkdir()
        done = assign_precision(source, tmp_path / way, precision=precision, table=table, rest=rest)
        proto = onnxfile.load(done.model.path)
        assert not any(t.external_data for t in proto.graph.initializer)
        for weight in proto.graph.initializer:
            weight.ClearField("data_location")  # onnx.load says so where it read another file
        written.append((proto.SerializeToString(deterministic=True), done.kept, done.notes))
    assert written[0] == written[1]
    assert source.read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_that_of_one_weight_and_not_of_the_model_several_times(tmp_path):
    small, large = (save(network(rows), tmp_path / f"{rows}.onnx") for rows in (20, 400_000))
    words = [sys.executable, "-c", ABOUT, "int8_weights", str(tmp_path), str(small), str(large)]
    grown = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert grown < 1.5 * large.stat().st_size
