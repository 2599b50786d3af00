"""``trtbuild diff`` in this process: what it prints, and how it ends."""

import json

import pytest
from onnx_models import cnn, mlp, node, save, tensor

from trtbuild.cli import group
from trtbuild.cli._run import run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    save(mlp(), tmp_path / "a.onnx")
    save(cnn(), tmp_path / "b.onnx")
    many = mlp()
    for number, op in enumerate(["Abs", "Neg", "Exp", "Sin", "Cos", "Tanh", "Relu", "Erf", "Floor", "Ceil", "Sqrt"]):
        many.graph.node.append(node(op, ["y"], [f"i{number}"], f"{op}_more"))
        many.graph.output.append(tensor(f"i{number}", ["n", 8]))
    save(many, tmp_path / "many.onnx")
    (tmp_path / "x.plan").write_bytes(b"no plan")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_differences_end_with_0_unless_asked_otherwise(folder, capsys):
    assert run(group, ["diff", "a.onnx", "b.onnx"]) == 0
    assert capsys.readouterr().out.startswith("two different graphs\n")
    assert run(group, ["diff", "a.onnx", "b.onnx", "--exit-code"]) == 7
    said = capsys.readouterr()
    assert said.out.startswith("two different graphs\n")
    assert "error: b.onnx: two different graphs" in said.err
    assert run(group, ["diff", "a.onnx", "a.onnx", "--exit-code"]) == 0
    assert capsys.readouterr().out == "the same model\n"


@pytest.mark.parametrize(("after", "code", "same"), [("a.onnx", 0, True), ("b.onnx", 7, False)])
def test_json_holds_every_change_whatever_the_exit_code(after, code, same, folder, capsys):
    assert run(group, ["diff", "a.onnx", after, "--exit-code", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert (found["same"], found["equivalent"], bool(found["changes"])) == (same, same, not same)
    assert ("error" in found) != same
    assert all(set(c) == {"topic", "name", "before", "after", "size"} for c in found["changes"])


def test_v_tells_every_change(folder, capsys):
    assert run(group, ["diff", "a.onnx", "many.onnx"]) == 0
    assert "  and 3 more lines" in capsys.readouterr().out
    assert run(group, ["diff", "a.onnx", "many.onnx", "-v"]) == 0
    assert "more lines" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["a.onnx", "x.plan"], 2, "two of a kind"),
        (["x.plan", "x.plan"], 7, "not a TensorRT plan"),
        (["a.onnx", "none.onnx"], 3, "no such file"),
    ],
)
def test_what_cannot_be_compared_is_refused(words, code, says, folder, capsys):
    assert run(group, ["diff", *words]) == code
    said = capsys.readouterr()
    assert says in said.err
    assert not said.out
