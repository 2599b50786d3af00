"""Shared fixtures. This folder is on the path (``pyproject.toml``), so tests import ``onnx_models`` by its name."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("trtbuild", deadline=None)  # machines are shared: time says nothing
settings.load_profile("trtbuild")


@pytest.fixture
def golden():
    return Path(__file__).resolve().parent / "golden"
