"""Files by content, and artifacts as JSON with paths relative to the store entry that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from trtbuild.content import file_digest, json_digest

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationInfo
    from pydantic_core.core_schema import CoreSchema, FieldSerializationInfo


def _relative(path: Path, info: FieldSerializationInfo) -> str:
    base = (info.context or {}).get("base")
    return path.relative_to(base).as_posix() if base and path.is_relative_to(base) else path.as_posix()


def _absolute(value: Any, info: ValidationInfo) -> Path:
    path = Path(value)
    base = (info.context or {}).get("base")
    return base / path if base and not path.is_absolute() else path


class _InEntry:
    """How pydantic reads and writes an ``EntryPath``.

    It asks for this by name, so that importing the artifacts imports no pydantic: the worker process does without.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        written = core_schema.plain_serializer_function_ser_schema(_relative, info_arg=True)
        return core_schema.with_info_before_validator_function(_absolute, handler(source), serialization=written)


EntryPath = Annotated[Path, _InEntry()]
"""A path that is written relative to the store entry that holds it."""


@dataclass(frozen=True)
class StoredFile:
    """A file and what its content was when it was written.

    Attributes:
        path: Where it lies now.
        sha256: Digest of its bytes.
        size: Bytes.
        companions: Files it cannot do without, such as an ONNX model's external data.
    """

    path: EntryPath
    sha256: str
    size: int
    companions: tuple[StoredFile, ...] = ()

    @classmethod
    def of(cls, path: Path, companions: tuple[Path, ...] = ()) -> StoredFile:
        """Reads the digest and the size of a file that is complete on disk."""
        parts = tuple(cls.of(companion) for companion in companions)
        return cls(path, file_digest(path), path.stat().st_size, parts)

    @property
    def digest(self) -> str:
        """Digest over the file and its companions."""
        return json_digest([self.sha256, *(c.sha256 for c in self.companions)]) if self.companions else self.sha256

    @property
    def total_size(self) -> int:
        """Bytes, companions included."""
        return self.size + sum(c.size for c in self.companions)


T = TypeVar("T")


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Pydantic's reader and writer of an artifact type, made once."""
    from pydantic import TypeAdapter

    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def to_json(artifact: Any, *, base: Path | None = None) -> Any:
    """The artifact as JSON values; paths below ``base`` become relative to it."""
    return _adapter(type(artifact)).dump_python(artifact, mode="json", context={"base": base})


def from_json(kind: type[T], value: Any, *, base: Path | None = None) -> T:
    """Reads what ``to_json`` wrote; raises pydantic's ValidationError when it is not a ``kind``."""
    artifact: T = _adapter(kind).validate_python(value, context={"base": base})
    return artifact


def stored_files(artifact: object) -> list[StoredFile]:
    """Every file an artifact names, companions included."""
    found: list[StoredFile] = []
    pending: list[Any] = [artifact]
    while pending:
        value = pending.pop()
        if isinstance(value, StoredFile):
            found.append(value)
            pending.extend(value.companions)
        elif isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, tuple):
            pending.extend(value)
        elif hasattr(value, "__dataclass_fields__"):
            pending.extend(getattr(value, name) for name in value.__dataclass_fields__)
    return found
