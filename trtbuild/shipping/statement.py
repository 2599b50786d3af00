"""Provenance of a build: an in-toto statement with SLSA's predicate, made from the manifest.

Source: https://in-toto.io/Statement/v1 and https://slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trtbuild.content import file_digest
from trtbuild.errors import IntegrityError
from trtbuild.shipping.shipment import MANIFEST, listed_files, read_manifest

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
_BUILD = "urn:trtbuild:build:1"
_BUILDER = "urn:trtbuild:builder:1"


def make_statement(build: Path) -> dict[str, Any]:
    """What was built, by what, from what.

    Subjects are the manifest and every file it names; dependencies are what the build read and the packages that did
    the work. The time is left out: the manifest has none, so one build has one statement.

    Raises:
        IntegrityError: A file is not the one that the manifest names.
    """
    document, listed = hold_files(build)
    place = build / MANIFEST
    named = {MANIFEST: hashlib.sha256(place.read_bytes()).hexdigest(), **listed}
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(named.items())],
        "predicateType": PREDICATE,
        "predicate": _predicate(document, named[MANIFEST]),
    }


def hold_files(build: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A build's manifest and the digests in it, every file held against them.

    Raises:
        IntegrityError: A file is not the one that the manifest names.
    """
    document = read_manifest(build / MANIFEST)
    listed = listed_files(document, build / MANIFEST)
    for name, digest in listed.items():
        if not (build / name).is_file() or file_digest(build / name) != digest:
            raise IntegrityError(
                f"{name} is not the file that the manifest names", place=str(build), hint="build it again"
            )
    return document, listed


def hold_statement(statement: Any, manifest: bytes, place: str) -> None:
    """A signed statement is about this manifest, and about each file in it.

    Raises:
        IntegrityError: It is about something else.
    """
    try:
        fits = statement["_type"] == STATEMENT and statement["predicateType"] == PREDICATE
        subjects = {s["name"]: s["digest"]["sha256"] for s in statement["subject"]}
        listed = listed_files(json.loads(manifest), place)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("the signed statement cannot be read", place=place, hint="sign the build again") from error
    wanted = {MANIFEST: hashlib.sha256(manifest).hexdigest(), **listed}
    if not fits or subjects != wanted:
        raise IntegrityError(
            "the signature is good, and of another build",
            place=place,
            hint="sign this build with `trtbuild sign --key`",
        )


def _predicate(document: Mapping[str, Any], manifest: str) -> dict[str, Any]:
    read = document.get("inputs", {})
    versions = document.get("versions", {})
    packages = {n: v for n, v in versions.items() if n not in ("platform", "python") and v != "absent"}
    return {
        "buildDefinition": {
            "buildType": _BUILD,
            "externalParameters": {
                key: document.get(key) for key in ("model", "precision", "targets", "profiles") if key in document
            },
            "internalParameters": {k: versions[k] for k in ("platform", "python") if k in versions},
            "resolvedDependencies": [
                *({"name": name, "digest": {"sha256": digest}} for name, digest in sorted(read.items())),
                *({"uri": f"pkg:pypi/{name}@{version}"} for name, version in sorted(packages.items())),
            ],
        },
        "runDetails": {
            "builder": {"id": _BUILDER, "version": {"trtbuild": str(document.get("trtbuild", ""))}},
            "metadata": {"invocationId": manifest},
        },
    }
