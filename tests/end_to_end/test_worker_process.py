"""The worker process as a user meets it: another interpreter, two builds of one spec, a memory limit."""

from __future__ import annotations

import json
import venv
from pathlib import Path

import pytest
from harness import Tool, tree, write_spec

tensorrt_rtx = pytest.importorskip("tensorrt_rtx")


def environment(folder: Path) -> Path:
    """A virtual environment that has TensorRT-RTX and nothing else; its Python."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    packages = next((folder / "lib").glob("python*/site-packages"))
    for place in Path(tensorrt_rtx.__file__).parent.parent.glob("tensorrt*"):
        (packages / place.name).symlink_to(place)
    return folder / "bin" / "python"


def test_one_spec_builds_with_two_interpreters_and_says_that_the_bytes_are_the_same(tool: Tool) -> None:
    environment(tool.folder / "other")
    fields = {"backend": "tensorrt_rtx", "compute_capability": "8.9"}
    targets = [{"name": "own", **fields}, {"name": "other", **fields, "python": "other/bin/python"}]
    write_spec(tool.folder, targets=targets, build={"check_reproducible": True}, accuracy={"min": 0.5})
    tool.succeeds("build", "--precision", "fp16")
    report = json.loads((tool.folder / "out" / "report.json").read_text())
    manifest_text = (tool.folder / "out" / "manifest.json").read_text()
    assert [p["target"] for p in report["plans"]] == ["own", "other"]
    assert len({p["sha256"] for p in report["plans"]}) == 1
    assert all(p["reproducible"] for p in report["plans"])
    assert "built twice, the same bytes" in (tool.folder / "out" / "report.md").read_text()
    assert [p["reproducible"] for p in json.loads(manifest_text)["plans"].values()] == [True]
    assert str(tool.folder) not in manifest_text
    assert all(s["hit"] for s in tool.json("build", "--precision", "fp16")["stages"] if s["stage"] != "verify")


def test_an_interpreter_that_is_not_there_is_said_before_the_first_stage(tool: Tool) -> None:
    target = {"backend": "tensorrt_rtx", "compute_capability": "8.9", "python": "nowhere/bin/python"}
    write_spec(tool.folder, targets=[target])
    tool.fails(2, "build", says=["there is no such Python", "nowhere/bin/python"])
    assert not tool.cache.exists()
    words = ("compile", "tiny.onnx", "--target", "rtx4090", "--axis", "batch=1:4:8")
    tool.fails(2, *words, "--python", "nowhere/bin/python", says=["there is no such Python"])


def test_a_memory_limit_stops_a_compile_and_names_the_lever(tool: Tool) -> None:
    before = tree(tool.folder)
    words = ("compile", "tiny.onnx", "--target", "rtx4090", "--axis", "batch=1:4:8", "--memory-limit-mib", "20")
    tool.fails(4, *words, says=["the limit is 20", "build.memory_limit_mib"])
    assert tree(tool.folder) == before
