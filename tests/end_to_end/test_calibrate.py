"""``trtbuild calibrate`` on plain files: methods, shards, TensorRT's cache, and what it refuses."""

from __future__ import annotations

import json

import onnx
import pytest
from harness import Tool, populate, sha256

READER = ("--reader", "readers.py:calibration")


@pytest.fixture
def tool(tmp_path):
    return Tool(populate(tmp_path / "work"), tmp_path / "cache")


def ranges(tool, name):
    table = json.loads((tool.folder / name).read_text())
    return {tensor: found["amax"] for tensor, found in table["ranges"].items()}


def test_four_shards_merged_are_one_run(tool):
    before = sha256(tool.folder / "tiny.onnx")
    tool.succeeds("calibrate", "tiny.onnx", *READER, "--method", "entropy", "-o", "whole.json")
    for number in range(1, 5):
        tool.succeeds("calibrate", "tiny.onnx", *READER, "--shard", f"{number}/4")
    shards = [f"shard-{n}-of-4.npz" for n in (3, 1, 4, 2)]
    tool.succeeds("calibrate", "merge", *shards, "--method", "entropy", "-o", "merged.json")
    assert ranges(tool, "merged.json") == ranges(tool, "whole.json")
    whole, merged = (json.loads((tool.folder / f).read_text()) for f in ("whole.json", "merged.json"))
    assert whole["data"] == merged["data"]
    assert sha256(tool.folder / "tiny.onnx") == before
    tool.fails(2, "calibrate", "merge", shards[0], shards[0], says=["count twice"])
    tool.fails(2, "calibrate", "merge", *shards, "--method", "auto", says=["--method", "mse"])
    tool.fails(2, "calibrate", "merge", "whole.json", says=["no calibration statistics"])


def test_a_budget_of_one_tensor_changes_nothing(tool):
    tool.succeeds("calibrate", "tiny.onnx", *READER, "--method", "mse", "-o", "wide.json")
    tool.succeeds("calibrate", "tiny.onnx", *READER, "--method", "mse", "--budget-mb", "1e-6", "-o", "narrow.json")
    assert ranges(tool, "wide.json") == ranges(tool, "narrow.json")


def test_auto_says_what_it_chose_and_why(tool):
    answer = tool.json("calibrate", "tiny.onnx", *READER, "-o", "table.json")
    assert answer["method"] in ("mse", "percentile", "entropy", "minmax")
    (note,) = answer["notes"]
    assert note.startswith(f"auto chose {answer['method']}: ")
    assert "8 rows kept apart" in note
    assert answer["samples"] == 32


def test_a_cache_goes_out_and_comes_back(tool):
    tool.succeeds("calibrate", "tiny.onnx", *READER, "--method", "mse", "-o", "table.json", "--cache", "int8.cache")
    first = (tool.folder / "int8.cache").read_text().splitlines()[0]
    assert first == "TRT-100300-EntropyCalibration2"
    held = {line.rpartition(": ")[0] for line in (tool.folder / "int8.cache").read_text().splitlines()[1:]}
    graph = onnx.load(str(tool.folder / "tiny.onnx")).graph
    assert {o for n in graph.node for o in n.output if n.op_type in ("Conv", "Relu", "Gemm")} <= held
    tool.succeeds("calibrate", "tiny.onnx", "--from-cache", "int8.cache", "-o", "back.json")
    for name, amax in ranges(tool, "back.json").items():
        assert amax == pytest.approx(ranges(tool, "table.json")[name], rel=1e-6)
    tool.succeeds("quantize", "tiny.onnx", "typed.onnx", "--table", "back.json")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tiny.onnx"], ["--reader", "--from-cache"]),
        (["tiny.onnx", *READER, "--from-cache", "x"], ["one of the two"]),
        (["tiny.onnx", *READER, "--shard", "0/4"], ["0/4", "1/8"]),
        (["tiny.onnx", *READER, "--shard", "third"], ["'third' is no shard"]),
        (["tiny.onnx", *READER, "--shard", "1/2", "--cache", "x"], ["a shard is no table yet"]),
        (["tiny.onnx", *READER, "--method", "entopy"], ["entropy"]),
        (["tiny.onnx", "--from-cache", "readers.py"], ["readers.py", "calibration cache"]),
    ],
)
def test_what_does_not_go_together_is_refused(tool, words, says):
    tool.fails(2, "calibrate", *words, says=says)
    assert not (tool.folder / "table.json").exists()
