"""Which versions a ``config.pbtxt`` serves. The file is the only word on it, and it is replaced as a whole.

``version_policy.specific`` names what is served. The parameter ``trtbuild.served_before`` has the versions that were
served alone before, the last one first: what ``rollback`` goes back to. So no second file can disagree with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtbuild.errors import IntegrityError, missing_package

_BEFORE = "trtbuild.served_before"
_VERSIONS_OWN = ("version_policy", "parameters")


@dataclass(frozen=True)
class Served:
    """What a repository serves of a model.

    Attributes:
        versions: Ascending; empty where the config leaves the choice to Triton.
        before: Versions that were served alone before, the last one first.
    """

    versions: tuple[int, ...]
    before: tuple[int, ...] = ()

    def then(self, versions: Sequence[int]) -> Served:
        """What is served after a change; a version that served alone is remembered."""
        chosen = tuple(sorted(set(versions)))
        chain = [*(self.versions if len(self.versions) == 1 else ()), *self.before]
        return Served(chosen, tuple(v for v in dict.fromkeys(chain) if chosen != (v,)))

    def back(self) -> Served:
        """What is served after going back. The version that is left is forgotten: a second time goes further."""
        return Served(self.before[:1], self.before[1:])


def served(config: bytes | str, place: str) -> Served:
    """What a config serves.

    Raises:
        IntegrityError: It is not a config.
    """
    message = _parsed(config, place)
    before = message.parameters[_BEFORE].string_value.split() if _BEFORE in message.parameters else []
    return Served(tuple(sorted(message.version_policy.specific.versions)), tuple(int(v) for v in before if v.isdigit()))


def serving_config(config: bytes | str, chosen: Served, place: str, files: Mapping[str, str]) -> bytes:
    """A packaged config with the versions to serve written into it.

    Args:
        config: As it was packaged.
        chosen: What to serve.
        place: Where it lies, for errors.
        files: Label file to where it lies in the model's folder now.
    """
    from google.protobuf import text_format

    message = _parsed(config, place)
    for output in message.output:
        output.label_filename = files.get(output.label_filename, output.label_filename)
    message.ClearField("version_policy")
    message.version_policy.specific.versions.extend(chosen.versions)
    if chosen.before:
        message.parameters[_BEFORE].string_value = " ".join(map(str, chosen.before))
    elif _BEFORE in message.parameters:
        del message.parameters[_BEFORE]
    return str(text_format.MessageToString(message)).encode()


def model_name(config: bytes | str, place: str) -> str:
    """The name in a config."""
    return str(_parsed(config, place).name)


def side_by_side(first: bytes | str, second: bytes | str, place: str) -> bool:
    """Whether two versions can be served under one config: they differ in nothing but provenance."""
    texts = []
    for config in (first, second):
        message = _parsed(config, place)
        for field in _VERSIONS_OWN:
            message.ClearField(field)
        texts.append(message.SerializeToString(deterministic=True))
    return bool(texts[0] == texts[1])


def _parsed(config: bytes | str, place: str) -> Any:
    try:
        from google.protobuf import text_format
        from tritonclient.grpc import model_config_pb2
    except (ImportError, RuntimeError) as error:
        raise missing_package("tritonclient[grpc]", "triton", needed_for="reading config.pbtxt") from error
    text = config.decode(errors="replace") if isinstance(config, bytes) else config
    try:
        return text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise IntegrityError(
            f"this is not a Triton config: {error}", place=place, hint="ship the model again"
        ) from error
