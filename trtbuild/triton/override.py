"""The user's own fields of config.pbtxt, merged over what was derived from the plan."""

from __future__ import annotations

from typing import Any

from trtbuild.errors import SpecError
from trtbuild.registry import nearest_hint
from trtbuild.triton.messages import ModelConfig, parse_json, schema

PLACE = "triton.override"
_OURS = {
    "name": "the folder's name is the model's: set model.name",
    "default_model_filename": "the plan's file is named by the build",
    "cc_model_filenames": "the plans' files are named by the build, one a compute capability",
    "platform": "a plan is served as tensorrt_plan",
    "backend": "a plan is served by the backend tensorrt",
}
_SCHEDULERS = ("dynamic_batching", "sequence_batching", "ensemble_scheduling")


def merge(config: ModelConfig, override: dict[str, Any]) -> None:
    """Merges protobuf JSON into a config.

    Single fields and messages are merged. Inputs and outputs are merged by name, maps by key; any other list takes the
    place of the one that was derived.

    Raises:
        SpecError: An unknown field, a value that it cannot take, a second scheduler, or a field that is the build's.
    """
    pb = schema()
    fields = {f.json_name: f.name for f in pb.ModelConfig.DESCRIPTOR.fields}
    asked = {fields.get(key, key): value for key, value in override.items()}
    for name, why in _OURS.items():
        if name in asked:
            raise SpecError("this field is not yours to set", place=f"{PLACE}.{name}", hint=why)
    _one_scheduler(config, asked)
    by_name = {name: asked.pop(name) for name in ("input", "output") if name in asked}
    maps = {name: dict(getattr(config, name)) for name in ("parameters", "metric_tags")}
    parse_json(asked, config, PLACE)
    for name, kept in maps.items():
        for key, value in kept.items():
            if key not in getattr(config, name):
                _put(getattr(config, name), key, value)
    for name, entries in by_name.items():
        _merge_tensors(config, name, entries)


def _put(field: Any, key: str, value: Any) -> None:
    if isinstance(value, str):
        field[key] = value
    else:
        field[key].CopyFrom(value)


def _one_scheduler(config: ModelConfig, asked: dict[str, Any]) -> None:
    there = config.WhichOneof("scheduling_choice")
    others = [name for name in _SCHEDULERS if name in asked and name != there]
    if there and others:
        raise SpecError(
            f"a second scheduler: {there} is there already",
            place=f"{PLACE}.{others[0]}",
            hint="set triton.dynamic_batching: false, or leave this field out",
        )


def _merge_tensors(config: ModelConfig, field: str, entries: Any) -> None:
    """Merges inputs or outputs by name: their order, and what is not named, stay as derived."""
    place = f"{PLACE}.{field}"
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and isinstance(e.get("name"), str) for e in entries
    ):
        raise SpecError(
            "this is not a list of tensors with names", place=place, hint=f"write {field}: [{{name: ..., ...}}]"
        )
    there = {tensor.name: tensor for tensor in getattr(config, field)}
    seen = set()
    for entry in entries:
        name = entry["name"]
        if name not in there:
            raise SpecError(f"the plan has no {field} {name!r}", place=place, hint=nearest_hint(name, there))
        if name in seen:
            raise SpecError(f"the {field} {name!r} is named twice", place=place, hint="leave one")
        seen.add(name)
        parse_json(entry, there[name], f"{place} {name}")
