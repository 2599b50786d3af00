"""Artifacts that one command writes beside its result and another reads back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from trtbuild.artifacts import from_json, stored_files
from trtbuild.content import file_digest
from trtbuild.errors import IntegrityError, UsageError

T = TypeVar("T")


def read_artifact(kind: type[T], path: Path, noun: str) -> T:
    """Reads an artifact's JSON and holds every file it names against its digest.

    Raises:
        UsageError: No such file, or another kind of file.
        IntegrityError: A file it names has changed.
    """
    try:
        artifact = from_json(kind, json.loads(path.read_text(encoding="utf-8")), base=path.resolve().parent)
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no {noun} there", place=str(path), hint="the command before this one writes it"
        ) from error
    except (ValueError, OSError) as error:
        raise UsageError(
            f"this is not {noun}", place=str(path), hint="the command before this one writes it"
        ) from error
    for file in stored_files(artifact):
        if not file.path.is_file() or file_digest(file.path) != file.sha256:
            raise IntegrityError(
                f"{file.path.name} is not the file that {path.name} names", place=str(path), hint="make it again"
            )
    return artifact
