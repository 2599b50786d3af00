"""Which TensorRT is in which Triton release; weak evidence is named as such."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trtbuild.errors import SpecError
from trtbuild.registry import nearest_hint


@dataclass(frozen=True)
class Release:
    """One Triton release.

    Attributes:
        name: For example ``26.04``.
        server: Server version.
        tensorrt: TensorRT version inside; None where nobody knows.
        cuda: CUDA version inside.
        evidence: Where the TensorRT version is known from.
    """

    name: str
    server: str
    tensorrt: str | None
    cuda: str
    evidence: str

    @property
    def weak(self) -> bool:
        """Whether the TensorRT version is inferred or hearsay."""
        return self.tensorrt is None or self.evidence.startswith(("inferred", "user", "users"))


@cache
def releases() -> dict[str, Release]:
    """Every known release by name."""
    rows = json.loads(Path(__file__).with_name("releases.json").read_text(encoding="utf-8"))
    return {row[0]: Release(*row) for row in rows}


def release(name: str) -> Release:
    """A release by name; an unknown one is an error with the nearest."""
    if name not in releases():
        raise SpecError(
            f"Triton release {name!r} is not known", place="triton.release", hint=nearest_hint(name, releases())
        )
    return releases()[name]


def numbers(version: str) -> tuple[int, ...]:
    """A version's numbers, to be compared."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
