"""What is shipped: one Triton model of a finished build, held against the build's manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from trtbuild.artifacts import StoredFile
from trtbuild.content import file_digest, json_digest
from trtbuild.errors import AccuracyError, IntegrityError, UsageError

MANIFEST = "manifest.json"
ENVELOPE = "provenance.dsse.json"
CONFIG = "config.pbtxt"
SHIPPED = "shipped"
"""Folder inside a version that holds what travels with its plans: Triton reads only the files its config names."""

SHARED = "shared"
"""Folder in that one for what was packaged beside ``config.pbtxt``: labels."""

_MODELS = "model_repository"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True)
class Shipment:
    """A verified model that is ready to be shipped.

    Attributes:
        model: Its name, also the folder's.
        manifest: The build's manifest.
        files: Path inside a version folder to the file: the plans, and below ``shipped/`` what travels with them.
        config: The text of ``config.pbtxt`` as it was packaged.
        notes: What a person should know before it is served.
    """

    model: str
    manifest: StoredFile
    files: Mapping[str, StoredFile]
    config: str
    notes: tuple[str, ...] = ()

    @property
    def payload(self) -> str:
        """Digest over everything that makes a version this one; the same for a second try."""
        listed = {name: f.sha256 for name, f in self.files.items() if name != f"{SHIPPED}/{ENVELOPE}"}
        return json_digest([self.model, listed])


def check_name(name: str) -> str:
    """A model's name that a folder, Triton and its URLs take as it is.

    Raises:
        UsageError: It is not one.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            "a model cannot have this name in a Triton repository",
            place=repr(name),
            hint="up to 200 letters, digits, '_', '-' and '.', and no '-' or '.' in front",
        )
    return name


def read_shipment(folder: Path, model: str | None = None) -> Shipment:
    """Reads a build's folder, or one model folder inside it, and holds every file against the manifest.

    Args:
        folder: What ``trtbuild build`` wrote, or ``model_repository/<model>`` inside it.
        model: Which model, where the build has several.

    Raises:
        UsageError: There is no build, no such model, or a name that Triton forbids.
        AccuracyError: A verification did not pass.
        IntegrityError: A file is not the one the manifest names, or no manifest names it.
    """
    build, model = _find_build(folder, model)
    document = read_manifest(build / MANIFEST)
    _hold_passed(document, build)
    listed = listed_files(document, build / MANIFEST)
    model = check_name(model or _only_model(listed, build))
    base = PurePosixPath(_MODELS, model)
    inside = {n: f for n, f in listed.items() if PurePosixPath(n).is_relative_to(base)}
    if not inside:
        raise UsageError(f"the build has no model {model!r}", place=str(build), hint=f"it has {_models(listed)}")
    _hold_named(build / base, {str(PurePosixPath(n).relative_to(base)) for n in inside})
    numbers = {PurePosixPath(n).relative_to(base).parts[0] for n in inside}
    if len({n for n in numbers if n.isdigit()}) > 1:
        raise UsageError("a build is shipped as one version, and it has several", place=str(build / base))
    ours = model in _families(document, listed)  # golden requests are the plan's: its steps take other inputs
    golden = {n: f for n, f in listed.items() if ours and PurePosixPath(n).is_relative_to("golden")}
    files = {name: _held(build / name, known) for name, known in {**inside, **golden}.items()}
    return _shipment(build, model, document, files)


def read_shipments(folder: Path, model: str | None = None) -> tuple[Shipment, ...]:
    """Reads a model with its steps and their ensemble, in the order in which they are shipped: the ensemble last.

    Args:
        folder: What ``trtbuild build`` wrote, or ``model_repository/<model>`` inside it: then that model alone.
        model: Which model, where the build has several that are no steps of one another; a step by its name alone.

    Raises:
        The same as ``read_shipment``.
    """
    build, chosen = _find_build(folder, model)
    document = read_manifest(build / MANIFEST)
    families = _families(document, listed_files(document, build / MANIFEST))
    if chosen is None and len(families) == 1:
        chosen = next(iter(families))
    if chosen not in families or (model is None and build != folder.resolve()):
        return (read_shipment(folder, model),)
    shipments = [read_shipment(build, name) for name in (*families[chosen], chosen)]
    return tuple(sorted(shipments, key=lambda s: '"ensemble"' in s.config))


def read_manifest(place: Path) -> dict[str, Any]:
    """A build's manifest as JSON values.

    Raises:
        UsageError: There is none.
        IntegrityError: It is not one.
    """
    try:
        document = json.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            "there is no build here: nothing says what these files are",
            place=str(place),
            hint="give the folder that `trtbuild build` wrote; its manifest travels with the plan",
        ) from error
    except ValueError as error:
        raise IntegrityError(f"the manifest is not JSON: {error}", place=str(place), hint="build it again") from error
    if not isinstance(document, dict):
        raise IntegrityError("this is not the manifest of a build", place=str(place), hint="build it again")
    return document


def listed_files(document: Mapping[str, Any], place: Path | str) -> dict[str, str]:
    """Path inside the build to the SHA-256 that its manifest names.

    Raises:
        IntegrityError: The document is no manifest, or names a file outside of its folder.
    """
    try:
        listed = {str(name): str(known["sha256"]) for name, known in document["outputs"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise IntegrityError("this is not the manifest of a build", place=str(place), hint="build it again") from error
    for name in listed:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise IntegrityError(
                f"it names a file outside of its folder: {name}", place=str(place), hint="do not use it"
            )
    return listed


def _find_build(folder: Path, model: str | None) -> tuple[Path, str | None]:
    """The folder that holds the manifest, and the model that the folder's name chose."""
    folder = folder.resolve()
    if folder.parent.name == _MODELS and not (folder / MANIFEST).is_file():
        return folder.parent.parent, model or folder.name
    return folder, model


def _hold_passed(document: Mapping[str, Any], build: Path) -> None:
    proofs = document.get("verified")
    sound = isinstance(proofs, list) and proofs and all(isinstance(p, dict) and p.get("passed") is True for p in proofs)
    if document.get("passed") is not True or not sound:
        raise AccuracyError(
            "its verification did not pass: it is not shipped",
            place=str(build / MANIFEST),
            hint="see the report of the build; what serves now goes on serving",
        )


def _models(listed: Mapping[str, str]) -> str:
    parts = [PurePosixPath(name).parts for name in listed]
    return ", ".join(sorted({p[1] for p in parts if p[0] == _MODELS and len(p) > 2})) or "none"


def _families(document: Mapping[str, Any], listed: Mapping[str, str]) -> dict[str, list[str]]:
    """Each packaged model to the steps and the ensemble beside it, which are named after it."""
    parts = [PurePosixPath(name).parts for name in listed]
    there = sorted({p[1] for p in parts if p[0] == _MODELS and len(p) > 2})
    serving = document.get("serving")
    heads = [m for m in there if isinstance(serving, dict) and m in serving]
    families: dict[str, list[str]] = {head: [] for head in heads}
    for name in there:
        owners = [head for head in heads if name.startswith(f"{head}_")]
        if name not in families and owners:
            families[max(owners, key=len)].append(name)
    return families


def _only_model(listed: Mapping[str, str], build: Path) -> str:
    found = _models(listed)
    if found == "none" or ", " in found:
        raise UsageError(f"the build has these models: {found}", place=str(build), hint="name one with --model")
    return found


def _hold_named(folder: Path, named: set[str]) -> None:
    """Everything in a model folder is named by the manifest: what is not vouched for is not served."""
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    if strange := sorted(there - named):
        raise IntegrityError(
            f"the manifest does not name {strange[0]}", place=str(folder), hint="take it away, or build it again"
        )


def _held(file: Path, sha256: str) -> StoredFile:
    if not file.is_file():
        raise IntegrityError("the manifest names this file and it is not there", place=str(file), hint="build it again")
    if file_digest(file) != sha256:
        raise IntegrityError(
            "this is not the file that the manifest names: it was changed after it was verified",
            place=str(file),
            hint="build it again; what serves now goes on serving",
        )
    return StoredFile(file, sha256, file.stat().st_size)


def _shipment(build: Path, model: str, document: Mapping[str, Any], files: Mapping[str, StoredFile]) -> Shipment:
    base = PurePosixPath(_MODELS, model)
    manifest = StoredFile.of(build / MANIFEST)
    inside: dict[str, StoredFile] = {f"{SHIPPED}/{MANIFEST}": manifest}
    for name, file in files.items():
        path = PurePosixPath(name)
        if not path.is_relative_to(base):
            inside[f"{SHIPPED}/{name}"] = file
            continue
        parts = path.relative_to(base).parts
        if parts[0].isdigit():
            inside[str(PurePosixPath(*parts[1:]))] = file
        elif parts == (CONFIG,):
            inside[f"{SHIPPED}/{CONFIG}"] = file
        else:
            inside[str(PurePosixPath(SHIPPED, SHARED, *parts))] = file
    if f"{SHIPPED}/{CONFIG}" not in inside:
        raise IntegrityError(f"the manifest names no {CONFIG}", place=str(build / base), hint="build it again")
    if (build / ENVELOPE).is_file():
        inside[f"{SHIPPED}/{ENVELOPE}"] = StoredFile.of(build / ENVELOPE)
    config = inside[f"{SHIPPED}/{CONFIG}"].path.read_text(encoding="utf-8")
    return Shipment(model, manifest, inside, config, _notes(model, document))


def _notes(model: str, document: Mapping[str, Any]) -> tuple[str, ...]:
    serving = document.get("serving")
    reason = serving.get(model, "triton") if isinstance(serving, dict) else "triton"
    warnings = document.get("warnings")
    said = [str(w) for w in warnings] if isinstance(warnings, list) else []
    return tuple(dict.fromkeys([*([] if reason == "triton" else [str(reason)]), *said]))
