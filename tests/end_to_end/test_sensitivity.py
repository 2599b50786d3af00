"""``trtbuild sensitivity`` as a user calls it: the table, a run that is killed, and the next that goes on."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from harness import READERS, Tool, cnn, eventually, write


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CNN, its readers and its calibration table."""
    folder = tmp_path_factory.mktemp("calibrated")
    write(folder / "readers.py", READERS)
    cnn(folder / "model.onnx", blocks=30)
    tool = Tool(folder, folder / "cache")
    tool.succeeds("calibrate", "model.onnx", "--reader", "readers.py:calibration", "--samples", 32, "--method", "mse")
    return folder


@pytest.fixture
def tool(calibrated: Path, tmp_path: Path) -> Tool:
    folder = tmp_path / "work"
    shutil.copytree(calibrated, folder)
    return Tool(folder, tmp_path / "cache")


def words(*more: object) -> tuple[object, ...]:
    return (
        "sensitivity", "model.onnx", "--table", "table.json", "--reader", "readers.py:held_out", "--samples", 16, *more
    )  # fmt: skip


def measured(folder: Path) -> list[str]:
    journal = folder / "sensitivity.json.journal"
    if not journal.exists():
        return []
    return [line for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]


def test_fast_prints_the_most_harmful_node_first_and_saves_the_table(tool: Tool) -> None:
    done = tool.succeeds(*words("--axis", "batch=1:4:8"))
    saved = json.loads((tool.folder / "sensitivity.json").read_text())
    assert saved["how"] == "fast"
    worst = max(saved["nodes"], key=lambda n: n["noise"])
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["node", "op", "format"]
    assert lines[1].startswith(worst["node"])
    assert len(lines) == 1 + len(saved["nodes"])


def test_killed_in_the_middle_it_goes_on_and_measures_no_node_twice(tool: Tool) -> None:
    first = tool.start(*words("--exact"))
    assert eventually(lambda: len(measured(tool.folder)) >= 2 or first.poll() is not None, 60)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = measured(tool.folder)
    assert before, "it ended before it could be killed"
    assert not (tool.folder / "sensitivity.json").exists()
    journal = tool.folder / "sensitivity.json.journal"
    journal.write_bytes("".join(before).encode() + b'{"key": "cut sh')  # as a kill in the middle of a line leaves it

    result = tool.json(*words("--exact"))
    seconds = {json.loads(line)["measured"]["node"]: json.loads(line)["measured"]["seconds"] for line in before}
    again = {n["node"]: n["seconds"] for n in result["nodes"]}
    assert len(again) > len(seconds), "nothing was left to measure"
    assert {node: again[node] for node in seconds} == seconds, "a measurement made again takes another time"
    assert not journal.exists(), "the journal is removed once the table is complete"


def test_a_time_budget_says_what_it_left_out(tool: Tool) -> None:
    done = tool.succeeds(*words("--exact", "--time-budget", "0.001s"))
    saved = json.loads((tool.folder / "sensitivity.json").read_text())
    assert len(saved["nodes"]) == 1
    assert saved["left_out"]
    assert "time budget" in done.stderr
    assert len(measured(tool.folder)) == 1, "the journal stays for the next run"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--format", "int9"), "did you mean 'int8'"),
        (("--time-budget", "10m"), "--exact"),
        (("--exact", "--time-budget", "soon"), "90s, 10m or 2h"),
    ],
)
def test_a_wrong_option_is_an_error_with_a_remedy(tool: Tool, more: tuple[str, ...], says: str) -> None:
    tool.fails(2, *words(*more), says=[says])
