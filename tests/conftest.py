"""Shared fixtures. This folder is on the path (``pyproject.toml``), so tests import ``onnx_models`` by its name."""

from pathlib import Path

import pytest


@pytest.fixture
def golden():
    return Path(__file__).resolve().parent / "golden"
