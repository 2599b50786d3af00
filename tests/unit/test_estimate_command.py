"""What ``trtbuild estimate`` refuses, in this process."""

import pytest
from onnx_models import matmul, node, save

from trtbuild.cli import group
from trtbuild.cli._run import run

REFUSED = {
    "an axis that the model does not have": (["m.onnx", "--target", "l4", "--axis", "m=4"], "no axis 'm'"),
    "a precision that the GPU cannot do": (["m.onnx", "--target", "t4", "--precision", "fp8"], "7.5"),
    "a precision that there is not": (["m.onnx", "--target", "l4", "--precision", "int9"], "did you mean 'int8'"),
    "a target that there is not": (["m.onnx", "--target", "l5"], "did you mean 'l4'"),
    "another precision than the graph's": (["q.onnx", "--target", "l4", "--precision", "fp16"], "written in it: int8"),
    "a plan without its description": (["m.plan", "--target", "l4"], "what its kernels are"),
}


def quantised():
    import numpy as np
    from onnx import numpy_helper

    proto = matmul(8, 8)
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(v), k) for k, v in {"s": np.float32(0.1), "z": np.int8(0)}.items()
    )
    proto.graph.node.insert(0, node("QuantizeLinear", ["x", "s", "z"], ["xq"], "xq"))
    proto.graph.node.insert(1, node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "xd"))
    proto.graph.node.insert(2, node("QuantizeLinear", ["w", "s", "z"], ["wq"], "wq"))
    proto.graph.node.insert(3, node("DequantizeLinear", ["wq", "s", "z"], ["wd"], "wd"))
    proto.graph.node[4].input[:] = ["xd", "wd"]
    return proto


@pytest.fixture
def folder(tmp_path, monkeypatch):
    save(matmul(8, 8), tmp_path / "m.onnx")
    save(quantised(), tmp_path / "q.onnx")
    (tmp_path / "m.plan").write_bytes(b"vtrt".ljust(64, b"\0"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("words", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_estimated_is_refused(words, says, folder, capsys):
    assert run(group, ["estimate", *words]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert not said.out


def test_a_quantised_graph_is_estimated_as_it_is(folder, capsys):
    assert run(group, ["estimate", "q.onnx", "--target", "l4", "--axis", "n=64"]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[:3] == ["q.onnx", "l4", "int8"]
