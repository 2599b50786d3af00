"""Signing a build's folder, and verifying it: the signed statement names the manifest, and that the files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtbuild.errors import IntegrityError
from trtbuild.shipping.envelope import PublicKey, opened, read_private_key, sign
from trtbuild.shipping.shipment import ENVELOPE, MANIFEST, read_manifest
from trtbuild.shipping.statement import hold_files, hold_statement, make_statement
from trtbuild.store import publish


def sign_build(build: Path, key: Path, password: str | None = None) -> Path:
    """Signs a build's provenance; signatures of other keys on the same statement are kept.

    Args:
        build: The build's folder.
        key: A private key's PEM file.
        password: Opens an encrypted key.

    Returns:
        The envelope's place.

    Raises:
        IntegrityError: A file is not the one that the manifest names: it is not signed.
        UsageError: There is no build, or no key.
        OutputError: The envelope cannot be written.
    """
    private = read_private_key(key, password)
    place = build / ENVELOPE
    envelope = sign(make_statement(build), private, beside=place.read_bytes() if place.is_file() else None)
    publish({Path(ENVELOPE): envelope.decode()}, build, last=Path(ENVELOPE))
    return place


def verify_build(build: Path, keys: Sequence[PublicKey]) -> Path:
    """Holds a build's files against its manifest, and that against the statement that every key has signed.

    Raises:
        IntegrityError: A file was changed, or a signature is missing, wrong, or of another build.
    """
    place, manifest = build / ENVELOPE, build / MANIFEST
    read_manifest(manifest)
    if not place.is_file():
        raise IntegrityError("this build is not signed", place=str(build), hint="sign it with `trtbuild sign --key`")
    hold_statement(opened(place.read_bytes(), keys, str(place)), manifest.read_bytes(), str(place))
    hold_files(build)
    return place
