"""Where versions lie: a folder that Triton polls, or a store of objects. Both answer to the same few verbs."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from trtbuild.artifacts import StoredFile
from trtbuild.errors import OutputError

Content = StoredFile | bytes


class Storage(Protocol):
    """A repository's files. Paths are relative to the repository, with ``/``.

    What is written while ``locked`` is held is swept by the next holder when this one dies.
    """

    @property
    def place(self) -> str:
        """What a person calls it: a path or an address."""

    def models(self) -> list[str]:
        """Names of the models."""

    def versions(self, model: str) -> list[int]:
        """Numbers of the version folders, ascending, as Triton reads them."""

    def read(self, path: str) -> bytes | None:
        """A file's bytes; None where there is none."""

    def digest(self, path: str) -> str | None:
        """SHA-256 of a file; None where there is none."""

    def files(self, folder: str) -> list[str]:
        """Paths of all files below a folder, relative to that folder."""

    def add_version(self, model: str, version: int, files: Mapping[str, Content], beside: Mapping[str, bytes]) -> None:
        """Puts a version in place as a whole; ``beside`` goes beside it, only where the model is new."""

    def replace(self, path: str, data: bytes) -> None:
        """Puts a file in place of another: a reader sees the one or the other."""

    def remove_version(self, model: str, version: int) -> None:
        """Takes a version away as a whole."""

    def read_record(self, name: str) -> bytes | None:
        """A record, from outside of what Triton reads."""

    def note(self, model: str, name: str, data: bytes) -> None:
        """Writes a line of a model's journal, among the records."""

    def locked(self, model: str) -> AbstractContextManager[None]:
        """Holds other shippers of a model off, and sweeps what a killed one left."""


def version_number(name: str) -> int | None:
    """The version that a folder's name stands for, None for one that Triton leaves out."""
    return int(name) if name.isascii() and name.isdigit() and not name.startswith("0") else None


def cannot_write(error: OSError, place: str) -> OutputError:
    """A refusal to write into a repository, with what it means for what is served: nothing."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "free some space" if full else "see to the place and its permissions"
    return OutputError(
        f"cannot write: {error.strerror or error}",
        place=place,
        hint=f"{remedy} and run it again; what is served did not change",
    )


def open_storage(place: str | Path, *, on_wait: Callable[[str], None] | None = None, wait_s: float = 600) -> Storage:
    """Opens a repository: a path, ``file://...``, or an address that fsspec knows, such as ``s3://bucket/models``.

    Args:
        place: Where it is.
        on_wait: Called with a line for a person when another shipper is at a model.
        wait_s: How long to wait for the other, seconds.

    Raises:
        UsageError: There can be no repository there.
        MissingDependencyError: fsspec, or its package for that kind of address, is not installed.
    """
    from trtbuild.shipping.folder import FolderStorage
    from trtbuild.shipping.objects import open_objects

    text = str(place)
    if text.startswith("file://"):
        from urllib.parse import unquote, urlparse

        text = unquote(urlparse(text).path)
    if "://" in text:
        return open_objects(text)
    return FolderStorage(Path(text), on_wait=on_wait or (lambda _line: None), wait_s=wait_s)
