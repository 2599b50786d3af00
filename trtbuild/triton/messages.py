"""Triton's own protobuf messages: the only place that imports them, reads their text and writes it."""

from __future__ import annotations

import re
from typing import Any

from trtbuild.errors import SpecError, missing_package
from trtbuild.registry import nearest_hint

ModelConfig = Any  # inference.ModelConfig: tritonclient has no types


def schema() -> Any:
    """The module of Triton's config messages."""
    try:
        from tritonclient.grpc import model_config_pb2
    except (ImportError, RuntimeError) as error:
        raise missing_package("tritonclient[grpc]", "triton", needed_for="reading and writing config.pbtxt") from error
    return model_config_pb2


def write_text(config: ModelConfig) -> str:
    """The text of a config.pbtxt."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(config))


def read_text(text: str, place: str) -> ModelConfig:
    """Reads a config.pbtxt.

    Raises:
        SpecError: With file and line: an unknown field, a value that it cannot take, two schedulers.
    """
    from google.protobuf import text_format

    pb = schema()
    try:
        return text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as error:
        line = error.GetLine()
        message = str(error).partition(" : ")[2] or str(error)
        raise SpecError(
            f"not a model config: {_plain(message)}", place=f"{place}:{line}" if line else place, hint=_remedy(message)
        ) from error


def parse_json(value: dict[str, Any], config: ModelConfig, place: str) -> None:
    """Reads protobuf JSON into a message.

    Raises:
        SpecError: An unknown field, or a value that it cannot take.
    """
    from google.protobuf import json_format

    try:
        json_format.ParseDict(value, config)
    except (json_format.ParseError, TypeError, ValueError) as error:
        message = str(error)
        raise SpecError(f"not a model config: {_plain(message)}", place=place, hint=_remedy(message)) from error


def _plain(message: str) -> str:
    """Protobuf's complaint without its list of fields, on one line."""
    return re.sub(r"\s+", " ", message.partition("Available Fields")[0]).strip().rstrip(".")


def _remedy(message: str) -> str:
    """The nearest known word for an unknown field or enum value."""
    found = re.search(r'Message type "?([\w.]+?)"? (?:has no|should not)[^"]*"(\w+)"', message)
    if found and "has no field" in message:
        described = _message(found[1]) or schema().ModelConfig.DESCRIPTOR
        return nearest_hint(found[2], [f.name for f in described.fields])
    if "oneof" in message:
        return "a model has one scheduler, one version policy, and one source of a warm-up input: leave one"
    return "take the field's type from Triton's model_config.proto"


def _message(name: str) -> Any:
    """The descriptor of a message by its full name; None where there is none."""
    here: Any = None
    for part in name.removeprefix("inference.").split("."):
        known = schema().DESCRIPTOR.message_types_by_name if here is None else here.nested_types_by_name
        here = known.get(part)
        if here is None:
            return None
    return here
