"""Targets: what to build for, by a shipped name or written out, and which precisions they can do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    field_validator,
    model_validator,
)

from trtbuild.artifacts import Gap, Precision, Target, TargetRates
from trtbuild.backends import BACKENDS
from trtbuild.errors import SpecError, UsageError
from trtbuild.registry import nearest_hint
from trtbuild.shipped import shipped_folder
from trtbuild.spec.hardware import FIRST, OLDEST, instead, tensor_core_formats

Rated = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8", "int4", "fp4"]
"""Number formats that datasheets give a matrix rate for."""

Figure = Literal[
    "fp32", "tf32", "fp16", "bf16", "int8", "fp8", "int4", "fp4", "memory_gb", "bandwidth_gb_s", "l2_mb", "power_w"
]
"""What ``from_memory`` may name."""


class TargetFields(BaseModel):
    """A target written out in a spec, or one file of ``profiles/targets``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", description="How reports call it; sm<nn> when left out.")
    backend: str = Field(
        "", description="The TensorRT flavour: `trtbuild backends` lists them. The first of backends when left out."
    )
    backends: tuple[str, ...] = Field((), description="All flavours that build for it.")
    compute_capability: str = Field(pattern=r"^\d{1,2}\.\d$", description='For example "8.9".')
    gpu: str = Field("", description="Product name.")
    python: str = Field(
        "",
        description="A Python interpreter whose TensorRT builds for it, such as venv/bin/python, relative to the spec; "
        "to build it needs nothing but TensorRT. So one spec builds with several releases. When left out: the one that "
        "runs trtbuild.",
    )
    peak: dict[Rated, PositiveFloat] = Field(
        default_factory=dict,
        description="Dense matrix rates in 10^12 operations a second, a multiplication and an addition being two; FP16 "
        "and FP8 with FP16 accumulation where the GPU has two rates. For estimates; what is missing is taken in ratio.",
    )
    memory_gb: float | None = Field(None, gt=0, description="Memory, in 10^9 bytes.")
    bandwidth_gb_s: float | None = Field(None, gt=0, description="Memory bandwidth, in 10^9 bytes a second.")
    l2_mb: float | None = Field(None, gt=0, description="Last-level cache, in 2^20 bytes.")
    power_w: float | None = Field(None, gt=0, description="Largest power of the board or module, W.")
    source: str = Field("", description="Where the figures were looked up.")
    from_memory: tuple[Figure, ...] = Field((), description="Figures that nobody has looked up.")

    @field_validator("compute_capability", mode="before")
    @classmethod
    def _quoted(cls, value: Any) -> Any:
        if isinstance(value, float):
            raise ValueError(f'{value} was read as a number; write it in quotes: "{value}"')  # noqa: TRY004
        return value

    @model_validator(mode="before")
    @classmethod
    def _one_backend(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and not fields.get("backend"):
            if not fields.get("backends"):
                raise ValueError("say which flavour of TensorRT builds for it, such as backend: tensorrt_rtx")
            return {**fields, "backend": fields["backends"][0]}
        return fields

    @property
    def formats(self) -> tuple[str, ...]:
        """What its tensor cores multiply."""
        return tensor_core_formats(self.target().sm)

    def target(self, folder: Path | None = None) -> Target:
        """The frozen value that stages take; ``python`` is relative to ``folder``."""
        name = self.name or "sm" + self.compute_capability.replace(".", "")
        return Target(name, self.backend, self.compute_capability, self.gpu, absolute(self.python, folder))

    def rates(self) -> TargetRates:
        """How fast the device is, as far as the figures go."""
        peak: dict[str, float] = {number: rate * 1e12 for number, rate in self.peak.items()}
        bandwidth = None if self.bandwidth_gb_s is None else self.bandwidth_gb_s * 1e9
        source = self.source + (f"; from memory: {', '.join(self.from_memory)}" if self.from_memory else "")
        return TargetRates(self.target().name, peak, bandwidth, source, (self.l2_mb or 0) * 2.0**20)


def _look_up(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    word, _, backend = value.partition("@")
    found = re.fullmatch(r"sm_?(\d{1,2})(\d)", word.lower())
    if found:
        capability = f"{found[1]}.{found[2]}"
        chosen = backend or _backend_for(capability)
        return TargetFields(name=value.lower(), backend=chosen, compute_capability=capability)
    known = shipped_targets()
    if word not in known:
        raise ValueError(f"there is no target {word!r}; {nearest_hint(word, known)}")
    fields = known[word]
    if not backend:
        return fields
    if backend not in fields.backends:
        raise ValueError(f"{backend!r} does not build for {word}; it has {', '.join(fields.backends)}")
    return fields.model_copy(update={"name": value, "backend": backend})


def _backend_for(capability: str) -> str:
    """The backend that builds for a capability without a GPU, where there is one; else TensorRT."""
    listed = (b for b in BACKENDS.summaries() if capability in (BACKENDS.load(b).CAPABILITIES or ()))
    return next(listed, "tensorrt")


TargetSpec = Annotated[
    TargetFields,
    BeforeValidator(_look_up, json_schema_input_type=str | TargetFields),
]
"""A shipped name such as ``rtx4090``, ``sm89``, or the fields written out; ``rtx4090@tensorrt`` chooses the backend."""


def shipped_targets() -> dict[str, TargetFields]:
    """Every target that ships, by name."""
    from trtbuild.spec.yamlfile import read_yaml

    found = {}
    for file in sorted((shipped_folder("profiles") / "targets").glob("*.yaml")):
        document = read_yaml(file)
        found[file.stem] = TargetFields(name=file.stem, **document)
    return found


def find_target(name: str) -> TargetFields:
    """All that is known of a target that a user named on the command line.

    Raises:
        UsageError: There is none of that name.
    """
    try:
        return TargetFields.model_validate(_look_up(name))
    except ValueError as error:
        raise UsageError(str(error), place=f"target {name}", hint="`trtbuild targets` lists them all") from error


def resolve_target(name: str, *, python: str = "") -> Target:
    """The target a user named on the command line.

    Args:
        name: A shipped target, or a compute capability.
        python: The interpreter whose TensorRT builds for it; this process's own when empty.

    Raises:
        UsageError: There is none of that name.
    """
    return replace(find_target(name).target(), python=absolute(python, None))


def absolute(python: str, folder: Path | None) -> str:
    """An interpreter's path without its links resolved: a virtual environment's Python is known by where it lies."""
    if not python:
        return ""
    return os.path.abspath((folder or Path()) / Path(python).expanduser())  # noqa: PTH100 - resolve() follows links


def check_capability(target: Target) -> None:
    """Refuses a target that its backend cannot build for.

    Raises:
        SpecError: With what to write instead.
    """
    place = f"target {target.name}"
    capabilities = BACKENDS.load(target.backend).CAPABILITIES
    if capabilities is not None and target.compute_capability not in capabilities:
        raise SpecError(
            f"{target.backend} does not build for compute capability {target.compute_capability}",
            place=place,
            hint=f"it has {', '.join(capabilities)}; take backend tensorrt for this GPU",
        )
    if target.sm < OLDEST:
        raise SpecError(
            f"compute capability {target.compute_capability} is too old", place=place, hint=instead(target.sm, "fp16")
        )


def check_precision(target: Target, precision: str) -> None:
    """Refuses a precision that no node can be in on a target's hardware.

    Raises:
        SpecError: With what to write instead.
    """
    if target.sm < FIRST[precision]:
        raise SpecError(
            f"compute capability {target.compute_capability} cannot do {precision}",
            place=f"target {target.name}",
            hint=instead(target.sm, precision),
        )


def check_target(target: Target, precision: Precision) -> None:
    """Refuses a target that its backend cannot build for, or whose hardware cannot do the precision.

    What a backend lacks for some operators only (``GAPS``) is refused here where no engine would come out of nearly any
    model; node by node it is checked by ``engine.compile``, which knows the graph.

    Raises:
        SpecError: Before anything is built, with what to write instead.
    """
    check_capability(target)
    check_precision(target, precision)
    gap = gaps_of(target).get(precision)
    if gap is not None and not gap.builds:
        raise SpecError(gap.words, place=f"target {target.name}", hint=gap.hint)


def precisions_of(target: Target) -> dict[Precision, str]:
    """Every precision a spec may ask for, to why a target refuses it; empty text where it does not."""
    found: dict[Precision, str] = {}
    for precision in get_args(Precision):
        try:
            check_target(target, precision)
        except SpecError as error:
            found[precision] = f"{error.message}: {error.hint}"
        else:
            found[precision] = ""
    return found


def gaps_of(target: Target) -> dict[str, Gap]:
    """Formats that a target's backend computes in for some operators only."""
    gaps = BACKENDS.load(target.backend).GAPS
    return {gap.format: gap for gap in gaps if gap.compute_capability == target.compute_capability}
