"""Results by content: a stage whose recipe is known is not run again.

An entry is a folder named by the digest of its recipe (stage, its code, digests of the inputs, parameters, toolchain).
It holds the stage's files, and ``result.json``: the recipe and the artifact, with the digest of every file.

A stage writes into ``<key>.partial`` under a lock that the operating system drops when its holder dies; a finished
folder is renamed into place. So a run killed at any moment leaves no half entry, and two runs share the work. A file
that no longer has its digest makes the entry count as missing: it is built again. What a long stage has measured lies
in ``<key>.journal`` until its entry is complete, so that the next run goes on where a killed one stopped.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from trtbuild import __version__
from trtbuild.artifacts import StoredFile, from_json, stored_files, to_json
from trtbuild.content import canonical_json, file_digest, json_digest, tree_digest
from trtbuild.errors import as_output_error, refuses_to_write

T = TypeVar("T")
_LAYOUT = "1"  # change when the layout of an entry changes


@dataclass(frozen=True)
class Recipe:
    """All that can change a stage's result.

    Attributes:
        stage: The stage's name.
        code: Digest of the stage's own source, from ``code_digest``.
        inputs: Role of each input to its digest.
        parameters: JSON values the stage was called with.
        toolchain: Package name to version, of the packages that do the stage's work.
    """

    stage: str
    code: str
    inputs: Mapping[str, str]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    toolchain: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """SHA-256 over everything above and the store's layout."""
        return json_digest([_LAYOUT, asdict(self)])


@dataclass(frozen=True)
class Stored(Generic[T]):
    """What ``Store.get_or_make`` returns.

    Attributes:
        artifact: The stage's result.
        key: Digest of its recipe.
        hit: True when it was there already.
    """

    artifact: T
    key: str
    hit: bool


def toolchain(*packages: str) -> dict[str, str]:
    """Versions of trtbuild, Python, the platform and the named packages; ``absent`` for one not installed."""
    found = {
        "trtbuild": __version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "platform": f"{platform.system()}-{platform.machine()}",
    }
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


_SHARED = ("spec", "feeds", "quantization", "roofline", "backends", "artifacts", "worker", "enginerun")
"""Packages below the stages."""


@cache
def code_digest(package: str) -> str:
    """SHA-256 over the source of a stage's package and of the modules that all stages lean on.

    A changed line makes the store miss, so no result of other code is ever taken for this code's.
    """
    root = Path(__file__).resolve().parent
    folder = root.joinpath(*package.split(".")[1:])
    own = [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    shared = [p for name in (".", *_SHARED) for p in (root / name).glob("*.py")]
    return tree_digest(root, places=[*own, *shared])


def default_root() -> Path:
    """The user's cache folder, or ``TRTBUILD_CACHE``."""
    from platformdirs import user_cache_path

    override = os.environ.get("TRTBUILD_CACHE")
    return Path(override) if override else user_cache_path("trtbuild", appauthor=False)


class Store:
    """Stage results under one folder.

    Args:
        root: The folder; the user's cache folder when left out.
        on_wait: Called once, with the stage's name, when another run holds the entry.
    """

    def __init__(self, root: Path | None = None, *, on_wait: Callable[[str], None] | None = None) -> None:
        self.root = root or default_root()
        self._on_wait = on_wait or (lambda _stage: None)

    def get_or_make(self, recipe: Recipe, kind: type[T], make: Callable[[Path], T]) -> Stored[T]:
        """Returns the stored result of ``recipe``, or runs ``make`` and stores what it returns.

        Args:
            recipe: What the result depends on.
            kind: The artifact's type.
            make: Called with an empty folder to write into; every file it names must lie there.

        Raises:
            OutputError: The store cannot be written.
        """
        entry = self._entry(recipe)
        found = self._read(entry, recipe, kind)
        if found is not None:
            return Stored(found, recipe.key, hit=True)
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(entry, recipe.stage):
                found = self._read(entry, recipe, kind)
                hit = found is not None
                artifact = found if found is not None else self._make(entry, recipe, kind, make)
        except OSError as error:
            place = str(error.filename or self.root)
            disk = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
            if refuses_to_write(error) and (disk or place.startswith(str(self.root))):
                raise as_output_error(error, place) from error
            raise
        return Stored(artifact, recipe.key, hit=hit)

    def journal(self, recipe: Recipe) -> Path:
        """Where a stage may note what it has measured so far: beside its entry, so that it outlives a kill.

        The stage's holder of the lock is the only one to write it. It is removed when the entry of the same recipe is
        complete. A recipe that leaves out how far a stage may go (a time budget) makes a journal that runs with other
        budgets go on from.
        """
        return self._entry(recipe).with_suffix(".journal")

    def _entry(self, recipe: Recipe) -> Path:
        return self.root / recipe.stage / recipe.key[:2] / recipe.key

    def _locked(self, entry: Path, stage: str) -> Any:
        from filelock import FileLock, Timeout

        lock = FileLock(str(entry.with_suffix(".lock")))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self._on_wait(stage)
            while True:  # in steps, so that Ctrl-C is seen
                try:
                    lock.acquire(timeout=0.5)
                    break
                except Timeout:
                    continue
        return _Held(lock)

    def _make(self, entry: Path, recipe: Recipe, kind: type[T], make: Callable[[Path], T]) -> T:
        partial = entry.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed: the lock is ours now
        partial.mkdir()
        try:
            artifact = make(partial)
            body = {"recipe": asdict(recipe), "artifact": to_json(artifact, base=partial)}
            body["files"] = _listing(artifact, partial)
            text = canonical_json({"sha256": json_digest(body), "body": body})
            (partial / "result.json").write_text(text, encoding="utf-8")
            _sync(partial)
            shutil.rmtree(entry, ignore_errors=True)  # a corrupt entry, if any
            partial.rename(entry)
            entry.with_suffix(".journal").unlink(missing_ok=True)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        stored = self._read(entry, recipe, kind)
        if stored is None:
            raise OSError(5, "a result that was just written cannot be read back", str(entry))
        return stored

    def _read(self, entry: Path, recipe: Recipe, kind: type[T]) -> T | None:
        """The artifact of a sound entry, None for one that is missing or corrupt."""
        try:
            document = json.loads((entry / "result.json").read_text(encoding="utf-8"))
            body = document["body"]
            if document["sha256"] != json_digest(body) or body["recipe"] != json.loads(canonical_json(asdict(recipe))):
                return None
            for name, (sha256, size) in body["files"].items():
                file = entry / name
                if file.stat().st_size != size or file_digest(file) != sha256:
                    return None
            return from_json(kind, body["artifact"], base=entry)
        except (OSError, ValueError, KeyError, TypeError):  # pydantic's ValidationError is a ValueError
            return None


@dataclass(frozen=True)
class _Held:
    lock: Any

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_exc: object) -> None:
        self.lock.release()


def _listing(artifact: object, base: Path) -> dict[str, tuple[str, int]]:
    files: dict[str, tuple[str, int]] = {}
    for file in stored_files(artifact):
        if file.path.is_relative_to(base):
            files[file.path.relative_to(base).as_posix()] = (file.sha256, file.size)
    return files


def _sync(folder: Path) -> None:
    """Asks the operating system to put a folder's files on disk before it is renamed into place."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def publish(files: Mapping[Path, StoredFile | str], folder: Path, *, last: Path, outdated: Iterable[Path] = ()) -> None:
    """Writes files into a user's folder so that a reader never sees half a file.

    Everything is first written beside its place; only when all of it is on disk is each file renamed, ``last`` (the
    manifest) at the end. A folder whose manifest does not fit its files was interrupted: run again.

    Args:
        files: Path inside ``folder`` to the file to copy, or to text to write.
        folder: The user's folder; made when missing.
        last: The key of ``files`` that is renamed last.
        outdated: Paths inside ``folder`` that an earlier run wrote; those not among ``files`` are removed.

    Raises:
        OutputError: The folder cannot be written; nothing in it has changed.
    """
    incoming = folder / f".incoming-{os.getpid()}"
    try:
        incoming.mkdir(parents=True, exist_ok=True)
        _sweep(folder, keep=incoming)
        for name, source in files.items():
            place = incoming / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, StoredFile):
                shutil.copyfile(source.path, place)
            else:
                place.write_text(source, encoding="utf-8")
        _sync(incoming)
        for name in set(outdated) - set(files):
            (folder / name).unlink(missing_ok=True)
        for name in sorted(files, key=lambda n: n == last):
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            (incoming / name).replace(place)
    except OSError as error:
        raise as_output_error(error, str(error.filename or folder)) from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _sweep(folder: Path, *, keep: Path) -> None:
    """Removes what killed runs left half-copied; a folder of a run that still lives is left alone."""
    for left in folder.glob(".incoming-*"):
        pid = left.name.rpartition("-")[2]
        if left != keep and pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives, and is another user's
        return True
    return True


def check_writable(folder: Path) -> None:
    """Makes a folder and writes a byte into it, so that a place that cannot be written is known before the work.

    Raises:
        OutputError: It cannot be written.
    """
    probe = folder / f".incoming-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0")
        probe.unlink()
    except OSError as error:
        raise as_output_error(error, str(folder)) from error
