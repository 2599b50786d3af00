"""What a repository demands of what it serves: ``.trtbuild/<repository>/policy.json`` beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.errors import IntegrityError
from trtbuild.shipping.envelope import PublicKey, opened
from trtbuild.shipping.statement import hold_statement

if TYPE_CHECKING:
    from trtbuild.shipping.storage import Storage

POLICY = "policy.json"


@dataclass(frozen=True)
class Policy:
    """What is demanded.

    Attributes:
        required_keys: Each of them must have signed the build.
    """

    required_keys: tuple[PublicKey, ...] = ()

    def and_keys(self, keys: Sequence[PublicKey]) -> Policy:
        """This policy with further keys."""
        return Policy((*self.required_keys, *keys))

    def hold(self, manifest: bytes, envelope: bytes | None, place: str) -> None:
        """Holds a build's signatures against the policy.

        Raises:
            IntegrityError: A signature is missing, wrong, or of another build.
        """
        if not self.required_keys:
            return
        if envelope is None:
            raise IntegrityError(
                "this repository serves signed builds only, and this one is not signed",
                place=place,
                hint="sign it with `trtbuild sign BUILD --key key.pem`; what serves now goes on serving",
            )
        hold_statement(opened(envelope, self.required_keys, place), manifest, place)


def read_policy(storage: Storage) -> Policy:
    """A repository's policy; without one nothing is demanded.

    Raises:
        IntegrityError: There is one and it cannot be read: it is never left out of account.
    """
    data = storage.read_record(POLICY)
    if data is None:
        return Policy()
    place = f"the policy of {storage.place}"
    try:
        document = json.loads(data)
        strange = set(document) - {"required_keys"}
        texts = document["required_keys"]
        if strange or not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
            raise ValueError(f"unknown keys {sorted(strange)}" if strange else "required_keys is a list of PEM texts")
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"the policy cannot be read: {error}",
            place=place,
            hint='write {"required_keys": ["-----BEGIN PUBLIC KEY..."]}',
        ) from error
    keys = tuple(PublicKey(text, f"{place}, key {number}") for number, text in enumerate(texts))
    for key in keys:
        _ = key.key_id
    return Policy(keys)
