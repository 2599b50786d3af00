"""What several recipes put into their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trtbuild.artifacts import to_json


def as_json(values: Sequence[object]) -> list[Any]:
    """JSON values of several artifacts."""
    return [to_json(value) for value in values]
