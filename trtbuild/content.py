"""Digests of content: files, JSON values, arrays. SHA-256 everywhere, as lower-case hex."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_CHUNK = 1 << 20  # bytes read at a time: keeps Ctrl-C quick on large files


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """One text for one JSON value: keys sorted, no spaces, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def feed_digest(feed: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of one sample: its input names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(feed):
        array = feed[name]
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.data if array.flags.c_contiguous and array.dtype.kind in "biuf" else array.tobytes())
    return digest.hexdigest()


def tree_digest(root: Path, *, places: list[Path] | None = None) -> str:
    """SHA-256 over the relative names and contents of files.

    Args:
        root: The folder the names are relative to.
        places: Files and folders to take; all of ``root`` when left out.
    """
    files: set[Path] = set()
    for place in places or [root]:
        files.update(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else files.add(place)
    listing = {}
    for file in files:
        name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.as_posix()
        listing[name] = file_digest(file)
    return json_digest(listing)
