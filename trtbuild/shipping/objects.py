"""A repository in a store of objects, through fsspec: one object is written as a whole, a folder is not.

A version's files are written first, its record after them, and ``config.pbtxt``, which says what is served, last. So a
server that reads while a version arrives serves the old one; a version without its record is half there, and the next
ship takes it away. Nothing holds two ships at once apart here: see that there is one.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from trtbuild.artifacts import StoredFile
from trtbuild.content import file_digest
from trtbuild.errors import IntegrityError, MissingDependencyError, UsageError, missing_package
from trtbuild.shipping.shipment import SHIPPED
from trtbuild.shipping.storage import Content, cannot_write, version_number

RECORD = f"{SHIPPED}/record.json"
_CHUNK = 1 << 20


class ObjectStorage:
    """A prefix of a store of objects.

    Args:
        system: fsspec's file system.
        root: The prefix, without the protocol.
        place: What a person calls it.
    """

    def __init__(self, system: Any, root: str, place: str) -> None:
        self._system = system
        self.root = root.rstrip("/")
        head, _, name = self.root.rpartition("/")
        if not head or not name:
            raise UsageError("a bucket cannot be a repository", place=place, hint=f"use a prefix in it: {place}/models")
        self.records = f"{head}/.trtbuild/{name}"
        self._place = place

    @property
    def place(self) -> str:
        """The address."""
        return self._place

    def models(self) -> list[str]:
        """Prefixes in the repository."""
        return self._folders(self.root)

    def versions(self, model: str) -> list[int]:
        """Prefixes of a model whose names are numbers."""
        numbers = (version_number(name) for name in self._folders(f"{self.root}/{model}"))
        return sorted(n for n in numbers if n is not None)

    def read(self, path: str) -> bytes | None:
        """An object's bytes."""
        return self._bytes(f"{self.root}/{path}")

    def digest(self, path: str) -> str | None:
        """SHA-256 of an object."""
        place = f"{self.root}/{path}"
        digest = hashlib.sha256()
        try:
            with self._system.open(place, "rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
        except (FileNotFoundError, IsADirectoryError):
            return None
        return digest.hexdigest()

    def files(self, folder: str) -> list[str]:
        """Every object below a prefix."""
        base = f"{self.root}/{folder}/"
        self._system.invalidate_cache()
        found = [str(name).partition(base.lstrip("/"))[2] for name in self._system.find(base)]
        return sorted(name for name in found if name)

    def add_version(self, model: str, version: int, files: Mapping[str, Content], beside: Mapping[str, bytes]) -> None:
        """Writes a version's objects, its record last, and then what goes beside it where the model is new."""
        marker = f"{self.records}/incoming/{model}/{version}"
        new = not self.versions(model)
        base = f"{self.root}/{model}"
        with self._writing():
            self._put(marker, b"a ship is at it\n")
            for name in sorted(files, key=lambda n: n == RECORD):
                self._put(f"{base}/{version}/{name}", files[name])
            if new:
                for name in sorted(beside, key=lambda n: n == "config.pbtxt"):
                    self._put(f"{base}/{name}", beside[name])
            self._system.rm_file(marker)

    def replace(self, path: str, data: bytes) -> None:
        """Writes one object."""
        with self._writing():
            self._put(f"{self.root}/{path}", data)

    def remove_version(self, model: str, version: int) -> None:
        """Deletes a version's objects, its record first: what is left of a broken-off removal is swept."""
        base = f"{self.root}/{model}/{version}"
        marker = f"{self.records}/incoming/{model}/{version}"
        with self._writing():
            self._put(marker, b"it is being removed\n")
            with contextlib.suppress(FileNotFoundError):
                self._system.rm_file(f"{base}/{RECORD}")
            self._system.rm(base, recursive=True)
            self._system.rm_file(marker)

    def read_record(self, name: str) -> bytes | None:
        """An object of the records."""
        return self._bytes(f"{self.records}/{name}")

    def note(self, model: str, name: str, data: bytes) -> None:
        """Writes an object of a model's journal."""
        with self._writing():
            self._put(f"{self.records}/journal/{model}/{name}", data)

    @contextlib.contextmanager
    def locked(self, model: str) -> Iterator[None]:
        """Sweeps versions that a broken-off ship left without their record. It holds nobody off."""
        folder = f"{self.records}/incoming/{model}"
        self._system.invalidate_cache()
        with self._writing():
            for name in self._names(folder, "file"):
                base = f"{self.root}/{model}/{name}"
                if self._bytes(f"{base}/{RECORD}") is None and self._system.exists(base):
                    self._system.rm(base, recursive=True)
                self._system.rm_file(f"{folder}/{name}")
        yield

    def _put(self, place: str, content: Content) -> None:
        if not isinstance(content, StoredFile):
            self._system.pipe_file(place, content)
            return
        if file_digest(content.path) != content.sha256:
            raise IntegrityError(
                "this file changed while it was shipped", place=str(content.path), hint="ship it again"
            )
        self._system.put_file(str(content.path), place)

    def _bytes(self, place: str) -> bytes | None:
        try:
            data: bytes = self._system.cat_file(place)
        except (FileNotFoundError, IsADirectoryError):
            return None
        return data

    def _folders(self, place: str) -> list[str]:
        self._system.invalidate_cache()
        return self._names(place, "directory")

    def _names(self, place: str, kind: str) -> list[str]:
        try:
            rows = self._system.ls(place, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(str(r["name"]).rstrip("/").rpartition("/")[2] for r in rows if r["type"] == kind)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise cannot_write(error, str(error.filename or self.place)) from error


def open_objects(address: str) -> ObjectStorage:
    """Opens ``s3://bucket/models`` or any other address that fsspec has a package for.

    Raises:
        UsageError: fsspec does not know that kind of address.
        MissingDependencyError: fsspec, or the package it needs for that address, is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise missing_package("fsspec", "remote", needed_for="a repository that is no folder") from error
    try:
        system, root = url_to_fs(address)
    except ImportError as error:
        raise MissingDependencyError(f"fsspec cannot open this: {error}", place=address) from error
    except ValueError as error:
        raise UsageError(
            f"fsspec cannot open this: {error}", place=address, hint="for example s3://bucket/models"
        ) from error
    return ObjectStorage(system, str(root), address)
