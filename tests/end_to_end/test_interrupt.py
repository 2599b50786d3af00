"""Ctrl-C: it ends soon, says what is kept, and leaves no process and no part of a file behind."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from harness import Tool, assert_store_sound, cnn, eventually, processes, tree, worker_of, write, write_spec

from trtbuild.worker.limits import memory_mib

SLOW = """\
import pathlib
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent


def slow():
    for number in range(10_000):
        (HERE / "reading").touch()
        time.sleep(0.2)
        yield {"x": np.full((1, 1, 8, 8), number, np.float32)}


def stubborn():
    (HERE / "reading").touch()
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            pass
    yield {}
"""
BOUND = 10  # seconds after which a tool that was interrupted counts as hung


def interrupted(tool: Tool, process: subprocess.Popen[str], number: int = signal.SIGINT) -> str:
    process.send_signal(number)
    output, errors = process.communicate(timeout=BOUND)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert str(tool.cache) in errors, "it says where finished stages are kept"
    assert "Traceback" not in errors
    assert not output
    assert eventually(lambda: not processes(str(tool.cache)))
    return errors


def reading(tool: Tool, function: str) -> subprocess.Popen[str]:
    """A build that is inside of a reader."""
    write(tool.folder / "slow.py", SLOW)
    process = tool.start("build", "--set", f"calibration.reader=slow.py:{function}")
    mark = tool.folder / "reading"
    assert eventually(lambda: mark.exists() or process.poll() is not None, 60)
    assert process.poll() is None, process.communicate()
    mark.unlink()
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: signal.Signals(n).name)
def test_interrupted_while_calibrating(tool: Tool, number: int) -> None:
    process = reading(tool, "slow")
    old = (tool.folder / "out" / "manifest.json").read_text()
    interrupted(tool, process, number)
    assert_store_sound(tool.cache)
    assert (tool.folder / "out" / "manifest.json").read_text() == old
    assert sorted(p.name for p in (tool.folder / "out").iterdir()) == ["manifest.json"]


def test_interrupted_while_a_reader_does_not_let_go(tool: Tool) -> None:
    interrupted(tool, reading(tool, "stubborn"))
    assert_store_sound(tool.cache, killed=True)


def test_what_was_done_before_an_interrupt_is_kept(tool: Tool) -> None:
    interrupted(tool, reading(tool, "slow"))
    stages = tool.json("build")["stages"]
    assert {s["stage"] for s in stages if s["hit"]} == {"export", "rewrite"}


@pytest.fixture
def deep(tool: Tool) -> Path:
    """A stack of convolutions that TensorRT is busy with for a while."""
    return cnn(tool.folder / "deep.onnx", blocks=200, channels=64)


def test_interrupted_while_compiling(tool: Tool, deep: Path) -> None:
    before = tree(tool.folder)
    process = tool.start("compile", deep.name, "--target", "rtx4090", "--axis", "batch=1:4:8")
    child = worker_of(process)
    assert eventually(lambda: memory_mib(child) > 60, 60), "TensorRT is at work when it holds that much"
    if process.poll() is not None:
        pytest.fail("the model is too small: the compile was over before the interrupt")
    interrupted(tool, process)
    assert tree(tool.folder) == before


def test_a_build_interrupted_while_compiling_goes_on_from_there(tool: Tool) -> None:
    cnn(tool.folder / "tiny.onnx", blocks=12, channels=32)
    write_spec(tool.folder, accuracy={"min": 0.5})
    process = tool.start("build", "--precision", "fp16")
    worker_of(process)
    interrupted(tool, process)
    assert_store_sound(tool.cache)
    stages = tool.json("build", "--precision", "fp16")["stages"]
    assert {s["stage"] for s in stages if s["hit"]} == {"export", "rewrite", "calibrate", "assign precision"}
