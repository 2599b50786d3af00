"""A repository that is a folder: whole versions are renamed into it, from a place that Triton does not read.

The records lie in ``.trtbuild/<repository>/`` beside the repository. They cannot lie in it: Triton 2.51 takes every
folder there, a hidden one too, for a model, and a server with its default ``--exit-on-error`` does not start when one
has no config. Nor is anything half-written put into a model's folder: a polling server loads the model again for each
file that changes there, and reads ``2.partial`` as version 2.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from trtbuild.artifacts import StoredFile
from trtbuild.content import file_digest
from trtbuild.errors import IntegrityError, UsageError
from trtbuild.shipping.storage import Content, cannot_write, version_number

_CHUNK = 1 << 20  # bytes copied at a time
_STEP_S = 0.2  # between two looks at a lock: short enough for Ctrl-C


class FolderStorage:
    """A folder that a Triton server polls, or loads from when it is told to.

    Args:
        root: The repository.
        on_wait: Called with a line for a person when another shipper is at a model.
        wait_s: How long to wait for the other, seconds.
    """

    def __init__(self, root: Path, *, on_wait: Callable[[str], None], wait_s: float) -> None:
        self.root = root.resolve()
        if self.root == self.root.parent:
            raise UsageError(
                "the root of a file system cannot be a repository", place=str(root), hint="choose a folder"
            )
        self.records = self.root.parent / ".trtbuild" / self.root.name
        self._on_wait, self._wait_s = on_wait, wait_s

    @property
    def place(self) -> str:
        """The path."""
        return str(self.root)

    def models(self) -> list[str]:
        """Folders in the repository."""
        return sorted(p.name for p in _listed(self.root) if p.is_dir())

    def versions(self, model: str) -> list[int]:
        """Folders of a model whose names are numbers."""
        numbers = (version_number(p.name) for p in _listed(self.root / model) if p.is_dir())
        return sorted(n for n in numbers if n is not None)

    def read(self, path: str) -> bytes | None:
        """A file's bytes."""
        return _bytes(self.root / path)

    def digest(self, path: str) -> str | None:
        """SHA-256 of a file."""
        file = self.root / path
        return file_digest(file) if file.is_file() else None

    def files(self, folder: str) -> list[str]:
        """Every file below a folder."""
        base = self.root / folder
        return sorted(p.relative_to(base).as_posix() for p in base.rglob("*") if p.is_file())

    def add_version(self, model: str, version: int, files: Mapping[str, Content], beside: Mapping[str, bytes]) -> None:
        """Copies, syncs, and renames a version's folder into place; of a new model, the model's."""
        model_folder = self.root / model
        new = not model_folder.exists()
        incoming = self._incoming(model) / "version"
        with _writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                _copy(content, incoming / str(version) / name)
            if new:
                for name, data in beside.items():
                    _copy(data, incoming / name)
            _sync_folders(incoming)
            if new:
                incoming.rename(model_folder)
            else:
                (incoming / str(version)).rename(model_folder / str(version))
            _sync_folder(self.root if new else model_folder)

    def replace(self, path: str, data: bytes) -> None:
        """Writes beside the repository, syncs, and renames over the old file."""
        place = self.root / path
        incoming = self._incoming(path.partition("/")[0]) / "file"
        with _writing(self.root):
            incoming.unlink(missing_ok=True)
            _copy(data, incoming)
            place.parent.mkdir(parents=True, exist_ok=True)
            incoming.replace(place)
            _sync_folder(place.parent)

    def remove_version(self, model: str, version: int) -> None:
        """Renames a version out of the repository, then deletes it."""
        trash = self._incoming(model) / "trash"
        with _writing(self.root):
            trash.mkdir(parents=True, exist_ok=True)
            place = trash / str(version)
            (self.root / model / str(version)).rename(place)
            shutil.rmtree(place, ignore_errors=True)

    def read_record(self, name: str) -> bytes | None:
        """A file of the records."""
        return _bytes(self.records / name)

    def note(self, model: str, name: str, data: bytes) -> None:
        """Writes a file of a model's journal, as a whole."""
        place = self.records / "journal" / model / name
        incoming = self._incoming(model) / "note"
        with _writing(self.records):
            _copy(data, incoming)
            place.parent.mkdir(parents=True, exist_ok=True)
            incoming.replace(place)

    @contextlib.contextmanager
    def locked(self, model: str) -> Iterator[None]:
        """Takes the model's lock, which the operating system drops when its holder dies, and sweeps.

        Raises:
            UsageError: Another shipper holds it for longer than is waited, or the repository is a mount of its own.
        """
        from filelock import FileLock

        with _writing(self.records):
            (self.records / "incoming").mkdir(parents=True, exist_ok=True)
        self._hold_one_device()
        lock = FileLock(str(self.records / f"{model}.lock"))
        self._acquire(lock, model)
        holder = self.records / f"{model}.holder"
        try:
            with contextlib.suppress(OSError):  # a full disk must not keep anyone from reading or removing
                holder.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), encoding="utf-8")
            shutil.rmtree(self._incoming(model), ignore_errors=True)
            yield
        finally:
            shutil.rmtree(self._incoming(model), ignore_errors=True)
            holder.unlink(missing_ok=True)
            lock.release()

    def _acquire(self, lock: object, model: str) -> None:
        import time

        from filelock import Timeout

        end = time.monotonic() + self._wait_s
        told = False
        while True:
            try:
                lock.acquire(timeout=0 if not told else _STEP_S)  # type: ignore[attr-defined]
            except Timeout:
                who = self._holder(model)
                if time.monotonic() >= end:
                    raise UsageError(
                        f"{who} is shipping {model}", place=self.place, hint="wait for it, or give --wait more seconds"
                    ) from None
                if not told:
                    self._on_wait(f"{who} is shipping {model}; waiting")
                told = True
            except OSError as error:
                raise cannot_write(error, str(self.records)) from error
            else:
                return

    def _holder(self, model: str) -> str:
        try:
            known = json.loads(_bytes(self.records / f"{model}.holder") or b"")
            return f"process {known['pid']} on {known['host']}"
        except (ValueError, KeyError, TypeError):
            return "another process"

    def _hold_one_device(self) -> None:
        """A rename is whole only inside one file system."""
        if self.root.exists() and self.root.stat().st_dev != self.records.stat().st_dev:
            raise UsageError(
                "the repository is a mount of its own: nothing can be renamed into it from outside",
                place=self.place,
                hint="ship into a folder below the mount, and let Triton read that",
            )

    def _incoming(self, model: str) -> Path:
        return self.records / "incoming" / model


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(error, str(error.filename or place)) from error


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _bytes(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _copy(content: Content, place: Path) -> None:
    """Writes and syncs a file; of a stored one, what arrives is what its digest says."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as target:
        if isinstance(content, StoredFile):
            digest = hashlib.sha256()
            with content.path.open("rb") as source:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    target.write(chunk)
            if digest.hexdigest() != content.sha256:
                raise IntegrityError(
                    "this file changed while it was shipped", place=str(content.path), hint="ship it again"
                )
        else:
            target.write(content)
        target.flush()
        os.fsync(target.fileno())


def _sync_folders(folder: Path) -> None:
    for place in [*(p for p in folder.rglob("*") if p.is_dir()), folder]:
        _sync_folder(place)


def _sync_folder(folder: Path) -> None:
    """Asks for a folder's names on disk: without it a rename may be undone by a power cut."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
