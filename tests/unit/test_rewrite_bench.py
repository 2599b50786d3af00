"""The rewrite bench: its figures are only as good as its arithmetic, and no tool may end it."""

import importlib
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
NAMES = (
    "architectures",
    "cases",
    "text_models",
    "vision_models",
    "contenders",
    "models",
    "kernels",
    "rewrite",
    "rewrite_report",
)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module
    for name in NAMES:
        sys.modules.pop(name, None)


def rows_of(row, model, kernels, waits=0):
    """A row a tool; None for one that does not build."""
    return [
        row(
            model,
            tool,
            "key",
            {
                "simplify": {"nodes": 10, "seconds": 0.5},
                "build": {"kernels": count, "attention": 2, "sync": waits} if count else {"error": "no such kernel"},
            },
            "2026-11-21",
        )
        for tool, count in kernels.items()
    ]


def test_the_summary_counts_models_and_says_where_ours_is_worse(bench):
    row, render = bench("rewrite").Row, bench("rewrite_report").render
    peers = {"onnxsim": 10, "onnxslim": 20, "onnxruntime": None}
    rows = [
        *rows_of(row, "bert.dynamo23", {"original": 20, **peers, "trtbuild": 10}),
        *rows_of(row, "vit.dynamo20", {"original": 10, **peers, "trtbuild": 20}),
        *rows_of(row, "gpt2.dynamo20", {"original": None, **peers, "trtbuild": 5}),
        *rows_of(row, "resnet.dynamo20", {"original": 8, **peers, "trtbuild": 6}),
    ]

    text = render(rows, [], "fp16")

    assert "| original | 3 | 2 | 0 | 1 | 1 | 0 |" in text
    assert "| onnxruntime | 0 | 0 | 0 | 0 | 4 | 0 |" in text
    assert "| kernels, ours / original, transformers, all exports, geometric mean | 1.000 (2) |" in text
    assert "| kernels, ours / original, transformers, opset 23, geometric mean | 0.500 (1) |" in text
    assert "| kernels, ours / original, convolutional models | 0.750 (1) |" in text
    assert "**Reconsider** (more kernels than the original): vit.dynamo20 20 for 10." in text
    assert "**A peer does better**: vit.dynamo20 20, onnxsim 10." in text
    assert "- bert.dynamo23, onnxruntime: no such kernel" in text


def test_layers_that_only_wait_are_counted_apart(bench):
    row, render = bench("rewrite").Row, bench("rewrite_report").render
    original = rows_of(row, "bert.ts17", {"original": 30})
    others = dict.fromkeys(("onnxsim", "onnxslim", "onnxruntime", "trtbuild"), 40)
    rows = [*original, *rows_of(row, "bert.ts17", others, waits=10)]

    text = render(rows, [], "fp16")

    with_waits, without = (
        text.index(line) for line in ("| original | 1 | 0 | 0 | 1 |", "| original | 1 | 0 | 1 | 0 |")
    )
    assert with_waits < without
    assert "40 (10) for 30" in text


@pytest.mark.parametrize(
    ("ends", "said"), [("os.kill(os.getpid(), 9)", "killed by signal 9"), ("time.sleep(60)", "no end within")]
)
def test_a_tool_that_dies_or_hangs_is_a_row(bench, monkeypatch, tmp_path, ends, said):
    rewrite, model = bench("rewrite"), bench("models").Model
    line = '{"stage": "simplify", "nodes": 3, "seconds": 1.0}'
    (tmp_path / "contenders.py").write_text(f"import os, time\nprint('{line}', flush=True)\n{ends}\n")
    monkeypatch.setattr(rewrite, "HERE", tmp_path)
    monkeypatch.setattr(rewrite, "TIMEOUT_S", 2)

    row = rewrite.take(model("bert", "ts17", tmp_path / "m.onnx", tmp_path / "m.npz"), "onnxslim", "fp16", "key")

    assert row.figure("simplify", "nodes") == 3
    assert said in row.error("check")
    assert said in row.error("build")


def test_a_row_is_taken_again_only_when_its_model_or_tool_changes(bench, monkeypatch, tmp_path):
    rewrite, model = bench("rewrite"), bench("models").Model
    onnx = tmp_path / "m.onnx"
    onnx.write_bytes(b"one")
    taken = []

    def take(_model, tool, _precision, key):
        taken.append(tool)
        return rewrite.Row("bert.ts17", tool, key, {"simplify": {"error": "none"}})

    monkeypatch.setattr(rewrite, "take", take)
    monkeypatch.setattr(rewrite, "judge_version", lambda: "1")
    monkeypatch.setattr(rewrite, "_version", lambda _tool: "1")

    def run():
        taken.clear()
        list(rewrite.rows([model("bert", "ts17", onnx, tmp_path / "m.npz")], "fp16", tmp_path / "rows.json"))
        return list(taken)

    assert run() == list(rewrite.TOOLS)
    assert run() == []
    monkeypatch.setattr(rewrite, "_version", lambda tool: "2" if tool == "trtbuild" else "1")
    assert run() == ["trtbuild"]
    onnx.write_bytes(b"two")
    assert run() == list(rewrite.TOOLS)
