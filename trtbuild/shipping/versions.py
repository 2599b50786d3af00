"""What a repository has: versions with the record of how they came, held against it before they are served."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from trtbuild.content import json_digest
from trtbuild.errors import IntegrityError, UsageError
from trtbuild.shipping.policy import Policy
from trtbuild.shipping.serving import Served, served
from trtbuild.shipping.shipment import CONFIG, ENVELOPE, MANIFEST, SHIPPED, listed_files
from trtbuild.shipping.storage import Storage

RECORD = f"{SHIPPED}/record.json"
_SCHEMA = 1


@dataclass(frozen=True)
class ShippedVersion:
    """A version that trtbuild put into a repository.

    Attributes:
        number: The version folder's name.
        shipped_at: When, in UTC, ISO 8601.
        manifest: SHA-256 of the manifest that it was shipped by.
        payload: Digest over what makes it this version.
        files: Path inside the version folder to SHA-256.
    """

    number: int
    shipped_at: str
    manifest: str
    payload: str
    files: Mapping[str, str]

    def document(self) -> bytes:
        """The record as it is written, with a digest over itself."""
        body = {
            "schema": _SCHEMA, "version": self.number, "shipped_at": self.shipped_at, "manifest": self.manifest,
            "payload": self.payload, "files": dict(self.files),
        }  # fmt: skip
        return (json.dumps({"sha256": json_digest(body), "body": body}, indent=2) + "\n").encode()


@dataclass(frozen=True)
class ModelVersions:
    """A model of a repository.

    Attributes:
        model: Its name.
        served: What its config serves.
        versions: What trtbuild shipped, ascending.
        others: Version folders that trtbuild did not put there.
        broken: Versions whose record was changed: they are not served again.
    """

    model: str
    served: Served
    versions: tuple[ShippedVersion, ...]
    others: tuple[int, ...] = ()
    broken: tuple[int, ...] = ()

    def version(self, number: int) -> ShippedVersion:
        """A version by its number.

        Raises:
            UsageError: There is none.
            IntegrityError: Its record was changed.
        """
        if number in self.broken:
            raise _tampered(f"the record of version {number} was changed", self.model)
        found = next((v for v in self.versions if v.number == number), None)
        if found is None:
            there = ", ".join(str(v.number) for v in self.versions) or "none"
            raise UsageError(
                f"trtbuild shipped no version {number} of {self.model}", place=self.model, hint=f"it has {there}"
            )
        return found


def read_versions(storage: Storage) -> tuple[ModelVersions, ...]:
    """Every model of a repository that has a version or a config."""
    found = (read_model(storage, model) for model in storage.models())
    return tuple(m for m in found if m.versions or m.others or m.broken)


def read_model(storage: Storage, model: str) -> ModelVersions:
    """One model; without versions where it is not there."""
    known: list[ShippedVersion] = []
    others: list[int] = []
    broken: list[int] = []
    for number in storage.versions(model):
        try:
            version = _read_version(storage, model, number)
        except IntegrityError:
            broken.append(number)
            continue
        known += [version] if version else []
        others += [] if version else [number]
    return ModelVersions(model, _served(storage, model), tuple(known), tuple(others), tuple(broken))


def _served(storage: Storage, model: str) -> Served:
    """What the config serves; nothing that can be relied on where it is no config: the next ship writes a new one."""
    config = storage.read(f"{model}/{CONFIG}")
    try:
        return served(config, model) if config is not None else Served(())
    except IntegrityError:
        return Served(())


def check_version(storage: Storage, model: str, version: ShippedVersion, policy: Policy) -> None:
    """Holds a version's files against its record, its plans against the manifest inside, and that against the policy.

    Raises:
        IntegrityError: A file is missing, changed or added, or a signature that the repository demands does not hold.
    """
    base = f"{model}/{version.number}"
    place = f"{storage.place}/{base}"
    for name, known in version.files.items():
        if storage.digest(f"{base}/{name}") != known:
            raise _tampered(f"{name} is not the file that was shipped", place)
    if strange := sorted(set(storage.files(base)) - {*version.files, RECORD}):
        raise _tampered(f"{strange[0]} was not shipped", place)
    manifest = storage.read(f"{base}/{SHIPPED}/{MANIFEST}") or b""
    _hold_plans(model, version, manifest, place)
    policy.hold(manifest, storage.read(f"{base}/{SHIPPED}/{ENVELOPE}"), place)


def _hold_plans(model: str, version: ShippedVersion, manifest: bytes, place: str) -> None:
    """Each file that Triton reads is one that the manifest names for this model."""
    try:
        listed = listed_files(json.loads(manifest), place)
    except ValueError as error:
        raise _tampered(f"its manifest cannot be read: {error}", place) from error
    prefix = f"model_repository/{model}/"
    packaged = [(n.removeprefix(prefix).partition("/"), d) for n, d in listed.items() if n.startswith(prefix)]
    known = {name: digest for (number, _, name), digest in packaged if number.isdigit()}
    if lacking := sorted(set(known) - set(version.files)):
        raise _tampered(f"{lacking[0]} is in its manifest and was not shipped", place)
    for name, digest in version.files.items():
        if not name.startswith(f"{SHIPPED}/") and known.get(name) != digest:
            raise _tampered(f"{name} is not the file that its manifest names", place)


def _tampered(message: str, place: str) -> IntegrityError:
    return IntegrityError(message, place=place, hint="ship the build again; what serves now goes on serving")


def _read_version(storage: Storage, model: str, number: int) -> ShippedVersion | None:
    """A version's record; None for a folder that trtbuild did not put there.

    Raises:
        IntegrityError: There is a record, and it does not fit.
    """
    data = storage.read(f"{model}/{number}/{RECORD}")
    if data is None:
        return None
    place = f"{storage.place}/{model}/{number}/{RECORD}"
    try:
        document: Any = json.loads(data)
        body = document["body"]
        if document["sha256"] != json_digest(body) or int(body["version"]) != number:
            raise ValueError("its digest does not fit")
        files = {str(n): str(d) for n, d in body["files"].items()}
        if any(".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute() for name in files):
            raise ValueError("it names a file outside of its folder")
        return ShippedVersion(number, str(body["shipped_at"]), str(body["manifest"]), str(body["payload"]), files)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _tampered(f"its record cannot be trusted: {error}", place) from error


__all__ = ["RECORD", "ModelVersions", "ShippedVersion", "check_version", "read_model", "read_versions"]
