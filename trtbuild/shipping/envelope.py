"""DSSE envelopes: a JSON statement with Ed25519 signatures over its exact bytes.

Source: https://github.com/secure-systems-lab/dsse, protocol and envelope, version 1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.errors import IntegrityError, UsageError, missing_package

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

IN_TOTO = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key.

    Attributes:
        pem: Its PEM text.
        place: Where it was read, for errors.
    """

    pem: str
    place: str

    @property
    def key_id(self) -> str:
        """SHA-256 of its DER form."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return hashlib.sha256(self._loaded().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Whether this key made the signature over the message."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._loaded().verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _loaded(self) -> Ed25519PublicKey:
        _serialization()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(self.pem.encode())
        except (ValueError, TypeError) as error:
            raise UsageError("this is not a public key in PEM", place=self.place, hint=_HOW) from error
        if not isinstance(key, Ed25519PublicKey):
            raise UsageError("this is not an Ed25519 key", place=self.place, hint=_HOW)
        return key


_HOW = "openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out pub.pem"


def read_public_key(file: Path) -> PublicKey:
    """Reads a public key's PEM file.

    Raises:
        UsageError: There is none, or it is not an Ed25519 public key.
    """
    key = PublicKey(_text(file), str(file))
    _ = key.key_id
    return key


def read_private_key(file: Path, password: str | None = None) -> Ed25519PrivateKey:
    """Reads a private key's PEM file.

    Raises:
        UsageError: There is none, it is not an Ed25519 private key, or the password does not open it.
    """
    _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_text(file).encode(), password.encode() if password else None)
    except TypeError as error:
        raise UsageError(
            "the key and its password do not go together",
            place=str(file),
            hint="set TRTBUILD_KEY_PASSWORD, or leave it out",
        ) from error
    except ValueError as error:
        raise UsageError("this is not a private key in PEM that can be opened", place=str(file), hint=_HOW) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError("this is not an Ed25519 key", place=str(file), hint=_HOW)
    return key


def sign(statement: Mapping[str, Any], key: Ed25519PrivateKey, *, beside: bytes | None = None) -> bytes:
    """An envelope around a statement.

    Args:
        statement: JSON values.
        key: Who signs.
        beside: An envelope of the same statement, whose signatures of other keys are kept.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key_id = hashlib.sha256(der).hexdigest()
    signature = {"keyid": key_id, "sig": base64.b64encode(key.sign(_encoded(IN_TOTO, payload))).decode()}
    kept = [{"keyid": i, "sig": base64.b64encode(s).decode()} for i, s in _others(beside, payload) if i != key_id]
    document = {
        "payloadType": IN_TOTO, "payload": base64.b64encode(payload).decode(), "signatures": [*kept, signature]
    }  # fmt: skip
    return (json.dumps(document, indent=2) + "\n").encode()


def opened(envelope: bytes, keys: Sequence[PublicKey], place: str) -> Any:
    """The statement of an envelope that every one of the keys has signed.

    Raises:
        IntegrityError: It is no envelope, or a key has not signed it.
    """
    found = _read(envelope, place)
    message = _encoded(found.kind, found.payload)
    for key in keys:
        signatures = [s for _id, s in found.signatures]  # a key's name is a hint and no proof
        if not any(key.signed(signature, message) for signature in signatures):
            raise IntegrityError(
                f"the key of {key.place} has not signed this",
                place=place,
                hint="sign the build with `trtbuild sign --key`",
            )
    if found.kind != IN_TOTO:
        raise IntegrityError(f"this is signed, and is no in-toto statement: {found.kind}", place=place)
    try:
        return json.loads(found.payload)
    except ValueError as error:
        raise IntegrityError("what is signed is not JSON", place=place, hint="sign the build again") from error


def _others(envelope: bytes | None, payload: bytes) -> tuple[tuple[str, bytes], ...]:
    """Signatures over the same payload; those of another build, or what cannot be read, are replaced."""
    try:
        found = _read(envelope, "the signatures that are there") if envelope is not None else None
    except IntegrityError:
        return ()
    return found.signatures if found is not None and found.payload == payload else ()


@dataclass(frozen=True)
class _Envelope:
    kind: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]


def _read(envelope: bytes, place: str) -> _Envelope:
    try:
        document = json.loads(envelope)
        rows = [(str(s.get("keyid", "")), base64.b64decode(s["sig"], validate=True)) for s in document["signatures"]]
        return _Envelope(
            str(document["payloadType"]), base64.b64decode(document["payload"], validate=True), tuple(rows)
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise IntegrityError("this is not a signed envelope", place=place, hint="sign the build again") from error


def _encoded(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed, so that no byte can be read in two ways."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _serialization() -> None:
    try:
        import cryptography.hazmat.primitives.serialization
    except ImportError as error:
        raise missing_package("cryptography", "sign", needed_for="signatures") from error
    del cryptography


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("there is no key here that can be read", place=str(file), hint=_HOW) from error
