"""Fields of the config by the release that has them first: an older server refuses a model that names one."""

from __future__ import annotations

from collections.abc import Iterator

from trtbuild.errors import SpecError
from trtbuild.triton.messages import ModelConfig

FIELDS_SINCE = {
    ("inference.ModelConfig", "runtime"): "24.01",
    ("inference.ModelInput", "is_non_linear_format_io"): "24.08",
    ("inference.ModelOutput", "is_non_linear_format_io"): "24.08",
    ("inference.ModelConfig", "model_metrics"): "24.11",
    ("inference.ModelEnsembling", "max_inflight_requests"): "25.12",
}
"""Message and field to a release. Source: protobuf/model_config.proto on the branches r23.12 to r26.07 of Triton's
``common`` repository, compared one by one; nothing else was added, and nothing was taken away."""


def check_release(config: ModelConfig, release: str, place: str) -> None:
    """Raises for a field that the release does not know yet.

    Raises:
        SpecError: Naming the field and the release that has it.
    """
    for path, since in newer_fields(config, release):
        raise SpecError(
            f"Triton {release} does not know this field and would refuse the model; {since} is the first that has it",
            place=f"{place}: {path}",
            hint=f'name release "{since}" or a later one, or leave the field out',
        )


def newer_fields(config: ModelConfig, release: str) -> Iterator[tuple[str, str]]:
    """Path and first release of every field that is set and that the release does not know."""
    for field, value in config.ListFields():
        since = FIELDS_SINCE.get((config.DESCRIPTOR.full_name, field.name), "")
        if since > release:
            yield field.name, since
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            inner = list(value) if field.is_repeated else [value]
            for number, message in enumerate(inner):
                here = f"{field.name}[{number}]" if field.is_repeated else field.name
                yield from ((f"{here}.{path}", first) for path, first in newer_fields(message, release))
