"""YAML with line numbers, and pydantic's errors said in the spec's own words: file, line, what, what instead."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trtbuild.errors import SpecError
from trtbuild.registry import nearest_hint

Loc = tuple[int | str, ...]


def read_yaml(path: Path) -> Any:
    """Reads a YAML 1.2 file; its mappings and sequences know their lines (``.lc``).

    Raises:
        SpecError: Missing, not YAML, or a key given twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(
            "there is no such file", place=str(path), hint="`trtbuild init MODEL` writes a first spec"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"cannot be read: {error}", place=str(path), hint="give the spec file itself, as UTF-8 text"
        ) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, place: str) -> Any:
    """Parses YAML text; ``place`` is what an error names."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt").load(io.StringIO(text))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = str(error.problem or error).split("\n", 1)[0]
        raise SpecError(f"not YAML: {problem}", place=f"{place}:{line}", hint="check indentation and quotes") from error
    except YAMLError as error:
        raise SpecError(f"not YAML: {error}", place=place, hint="check indentation and quotes") from error


def plain(value: Any) -> Any:
    """The same document as plain dicts and lists."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):  # ruamel's scalars are subclasses that remember their format
        if isinstance(value, kind):
            return kind(value)
    return value


def line_of(document: Any, loc: Loc) -> int:
    """The 1-based line of the deepest part of ``loc`` that the document has."""
    line = 1
    here: Any = document
    for part in loc:
        try:
            lines: Any = here.lc
            position = lines.key(part) if isinstance(here, Mapping) else lines.item(part)
            line, here = position[0] + 1, here[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            continue
    return line


def as_spec_error(
    error: ValidationError, kind: type[BaseModel], document: Any, file: str, places: Mapping[Loc, str]
) -> SpecError:
    """All of pydantic's complaints as one SpecError, the first in front.

    Args:
        error: What pydantic raised.
        kind: The model that was validated; gives the known keys.
        document: The YAML document with its line numbers.
        file: The spec's path.
        places: Where a value that did not come from the file came from, by its location.
    """
    details = _without_union_noise(error.errors())
    said = [_say(d, kind, document, file, places) for d in details]
    place, message, hint = said[0]
    more = "".join(f"\n  also {p}: {m}" + (f" ({h})" if h else "") for p, m, h in said[1:])
    return SpecError(message + more, place=place, hint=hint)


def _without_union_noise(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """A value that fits no branch of a union is reported once a branch: keep the most specific."""
    best: dict[Loc, ErrorDetails] = {}
    for detail in details:
        loc = tuple(p for p in detail["loc"] if not (isinstance(p, str) and ("[" in p or p in ("str", "int"))))
        if loc not in best or detail["type"] == "value_error":
            best[loc] = {**detail, "loc": loc}
    deepest = [d for loc, d in best.items() if not any(o != loc and o[: len(loc)] == loc for o in best)]
    return deepest or details


def _say(
    detail: ErrorDetails, kind: type[BaseModel], document: Any, file: str, places: Mapping[Loc, str]
) -> tuple[str, str, str | None]:
    loc = detail["loc"]
    place = next((places[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in places), None)
    if place is None and detail["type"] == "missing" and not _has(document, loc[:-1]):  # a block an override began
        place = next((p for key, p in places.items() if key[: len(loc) - 1] == loc[:-1]), None)
    place = place or f"{file}:{line_of(document, loc)}"
    dotted = ".".join(str(p) for p in loc)
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        return place, f"unknown key {dotted!r}", nearest_hint(str(loc[-1]), _known_keys(kind, loc[:-1]))
    if detail["type"] == "missing":
        return place, f"{dotted!r} is missing", f"add it; known here: {', '.join(_known_keys(kind, loc[:-1]))}"
    if detail["type"] == "literal_error":
        expected = str(detail.get("ctx", {}).get("expected", ""))
        choices = [c.strip(" '") for c in expected.replace(" or ", ",").split(",")]
        return place, f"{dotted}: {detail['input']!r} is not known", nearest_hint(str(detail["input"]), choices)
    head, _, tail = message.partition("; ")
    return place, f"{dotted}: {head}" if dotted else head, tail or "`trtbuild schema` prints what each key takes"


def _has(document: Any, loc: Loc) -> bool:
    """Whether the file itself holds something at a location."""
    here = document
    for part in loc:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _known_keys(kind: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that the schema has at a location."""
    schema = kind.model_json_schema()
    here: Any = schema
    for part in loc:
        here = _deref(schema, here)
        inner = here.get("properties", {}).get(part) or here.get("items") or here.get("additionalProperties")
        if not inner:
            return []
        here = inner
    return list(_deref(schema, here).get("properties", {}))


def _deref(schema: Any, node: Any) -> Any:
    for option in node.get("anyOf", ()):
        if "$ref" in option:
            node = option
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node
