"""``trtbuild bench``: ONNX Runtime and torch in one run, as a table and as JSON."""

from __future__ import annotations

import pytest
from harness import Tool, populate, write

NET = """\
import torch


def load():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
"""


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    folder = tmp_path_factory.mktemp("bench")
    tool = Tool(populate(folder / "work"), folder / "cache")
    write(tool.folder / "net.py", NET)
    return tool


WORDS = ("bench", "tiny.onnx", "--axis", "batch=1:2:8", "--runs", "5", "--warm-up", "1", "--turn", "2")


def test_a_module_and_an_onnx_file_are_measured_in_one_run(tool: Tool) -> None:
    found = tool.json(*WORDS, "--torch", "net.py:load", "--baseline", "net.py:load")
    assert [(t["subject"], t["end"], t["kind"]) for t in found["timings"]] == [
        (subject, end, kind)
        for end in ("opt", "min", "max")
        for subject, kind in (("tiny.onnx (ONNX Runtime, CPU)", "onnx"), ("net.py:load (torch eager, CPU)", "other"))
    ]
    assert {t["latency"]["runs"] for t in found["timings"]} == {5}
    assert found["baseline"] == "net.py:load (torch eager, CPU)"
    assert [t["ratio"] for t in found["timings"] if t["kind"] == "other"] == [1.0] * 3
    assert found["states"] == []


def test_a_person_gets_a_table(tool: Tool) -> None:
    done = tool.run(*WORDS, "--at", "opt")
    assert done.returncode == 0
    assert "| tiny.onnx (ONNX Runtime, CPU) | profile 0, opt | x:2x1x8x8 |" in done.stdout
    assert "1 subjects side by side at 1 shape" in done.stderr


def test_a_baseline_that_is_no_subject_is_named(tool: Tool) -> None:
    tool.fails(2, *WORDS, "--baseline", "tiny", says=["no subject is called 'tiny'", "tiny.onnx"])
