"""Fixtures of the end-to-end tests; ``harness.py`` holds what they are made of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Built, Tool, eventually, populate, processes


@pytest.fixture
def tool(tmp_path: Path) -> Iterator[Tool]:
    """The tool in a folder with the small model, an output of an earlier build in ``out``, and an empty cache."""
    folder = populate(tmp_path / "work")
    (folder / "out").mkdir()
    (folder / "out" / "manifest.json").write_text('{"of": "an earlier build"}\n', encoding="utf-8")
    yield Tool(folder, tmp_path / "cache")
    assert eventually(lambda: not processes(str(tmp_path / "cache"))), "a process outlived its test"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The small model taken the whole way."""
    base = tmp_path_factory.mktemp("built")
    tool = Tool(populate(base / "work"), base / "cache")
    started = time.monotonic()
    done = tool.succeeds("build")
    return Built(tool, tool.folder / "out", done, time.monotonic() - started)
