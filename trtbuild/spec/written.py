"""A spec as a person would write it: the keys that were set, and targets by their names."""

from __future__ import annotations

from typing import Any

from trtbuild.errors import UsageError
from trtbuild.spec.model import Spec
from trtbuild.spec.targets import TargetFields, find_target


def as_written(spec: Spec) -> dict[str, Any]:
    """JSON values that ``load_spec`` reads as the same spec."""
    written: dict[str, Any] = spec.model_dump(mode="json", exclude_unset=True)
    return written | {"targets": [_target(fields) for fields in spec.targets]}


def _target(fields: TargetFields) -> Any:
    try:
        if find_target(fields.name) == fields:
            return fields.name
    except UsageError:
        pass  # a name of the user's own
    document = fields.model_dump(mode="json", exclude_defaults=True)
    return {key: value for key, value in document.items() if key != "backends"} | {"backend": fields.backend}
