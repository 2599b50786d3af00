"""Targets: what to build for, by a shipped name or written out, and which precisions they can do."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, field_validator

from trtbuild.artifacts import Precision, Target, TargetRates
from trtbuild.backends import BACKENDS
from trtbuild.errors import SpecError, UsageError
from trtbuild.registry import nearest_hint
from trtbuild.shipped import shipped_folder

Rated = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8", "int4", "fp4"]
"""Number formats that datasheets give a matrix rate for."""

_FIRST_SM: dict[Precision, int] = {
    "fp16": 75, "int8": 75, "int8_weights": 75, "bf16": 80, "tf32": 80, "int4": 80, "fp8": 89, "fp32": 75,
    "best": 75,
}  # fmt: skip
"""First compute capability whose tensor cores (or, for fp32 and int4, whose builder) do a precision."""


class TargetFields(BaseModel):
    """A target written out in a spec, or one file of ``profiles/targets``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", description="How reports call it; sm<nn> when left out.")
    backend: str = Field(description="The TensorRT flavour: `trtbuild backends` lists them.")
    compute_capability: str = Field(pattern=r"^\d{1,2}\.\d$", description='For example "8.9".')
    gpu: str = Field("", description="Product name.")
    peak: dict[Rated, PositiveFloat] = Field(
        default_factory=dict,
        description="Dense matrix rates in 10^12 operations a second, a multiplication and an addition being two; FP16 "
        "and FP8 with FP16 accumulation where the GPU has two rates. For estimates; what is missing is taken in ratio.",
    )
    memory_gb: float | None = Field(None, gt=0, description="Memory, in 10^9 bytes.")
    bandwidth_gb_s: float | None = Field(None, gt=0, description="Memory bandwidth, in 10^9 bytes a second.")
    l2_mb: float | None = Field(None, gt=0, description="Last-level cache, in 2^20 bytes.")
    source: str = Field("", description="Where the figures come from.")

    @field_validator("compute_capability", mode="before")
    @classmethod
    def _quoted(cls, value: Any) -> Any:
        if isinstance(value, float):
            raise ValueError(f'{value} was read as a number; write it in quotes: "{value}"')  # noqa: TRY004
        return value

    def target(self) -> Target:
        """The frozen value that stages take."""
        name = self.name or "sm" + self.compute_capability.replace(".", "")
        return Target(name, self.backend, self.compute_capability, self.gpu)

    def rates(self) -> TargetRates:
        """How fast the device is, as far as the figures go."""
        peak: dict[str, float] = {number: rate * 1e12 for number, rate in self.peak.items()}
        bandwidth = None if self.bandwidth_gb_s is None else self.bandwidth_gb_s * 1e9
        return TargetRates(self.target().name, peak, bandwidth, self.source, (self.l2_mb or 0) * 2.0**20)


def _look_up(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"sm_?(\d{1,2})(\d)", value.lower())
    if found:
        capability = f"{found[1]}.{found[2]}"
        return TargetFields(name=value.lower(), backend=_backend_for(capability), compute_capability=capability)
    known = shipped_targets()
    if value not in known:
        raise ValueError(f"there is no target {value!r}; {nearest_hint(value, known)}")
    return known[value]


def _backend_for(capability: str) -> str:
    """The backend that builds for a capability without a GPU, where there is one; else TensorRT."""
    listed = (b for b in BACKENDS.summaries() if capability in (BACKENDS.load(b).CAPABILITIES or ()))
    return next(listed, "tensorrt")


TargetSpec = Annotated[
    TargetFields,
    BeforeValidator(_look_up, json_schema_input_type=str | TargetFields),
]
"""A shipped name such as ``rtx4090``, ``sm89``, or the fields written out."""


def shipped_targets() -> dict[str, TargetFields]:
    """Every target that ships, by name."""
    from trtbuild.spec.yamlfile import read_yaml

    found = {}
    for file in sorted((shipped_folder("profiles") / "targets").glob("*.yaml")):
        document = read_yaml(file)
        found[file.stem] = TargetFields(name=file.stem, **document)
    return found


def resolve_target(name: str) -> Target:
    """The target a user named on the command line.

    Raises:
        UsageError: There is none of that name.
    """
    return _resolve(name).target()


def resolve_rates(name: str) -> TargetRates:
    """The datasheet figures of the target a user named on the command line.

    Raises:
        UsageError: There is none of that name.
    """
    return _resolve(name).rates()


def _resolve(name: str) -> TargetFields:
    try:
        fields: TargetFields = _look_up(name)
    except ValueError as error:
        raise UsageError(str(error), place=f"target {name}", hint="`trtbuild targets` lists them all") from error
    return fields


def check_target(target: Target, precision: Precision) -> None:
    """Refuses a target that its backend cannot build for, or whose hardware cannot do the precision.

    Raises:
        SpecError: Before anything is built, with what to write instead.
    """
    place = f"target {target.name}"
    capabilities = BACKENDS.load(target.backend).CAPABILITIES
    if capabilities is not None and target.compute_capability not in capabilities:
        raise SpecError(
            f"{target.backend} does not build for compute capability {target.compute_capability}",
            place=place,
            hint=f"it has {', '.join(capabilities)}; take backend tensorrt for this GPU",
        )
    if target.sm < _FIRST_SM[precision]:
        raise SpecError(
            f"compute capability {target.compute_capability} cannot do {precision}",
            place=place,
            hint=_instead(target, precision),
        )
    if target.backend == "tensorrt_rtx" and target.sm == 75 and precision == "fp32":
        raise SpecError(
            "TensorRT-RTX has no FP32 matrix multiplication for compute capability 7.5",
            place=place,
            hint="take precision fp16 for this target",
        )


_SECOND_CHOICE: dict[Precision, tuple[Precision, ...]] = {
    "fp8": ("int8", "fp16"), "int4": ("int8_weights", "int8"), "bf16": ("fp16", "int8"), "tf32": ("fp16", "int8"),
}  # fmt: skip


def _instead(target: Target, precision: Precision) -> str:
    """What to write instead of a precision that a target cannot do."""
    if target.sm < 75:
        return "trtbuild's backends begin at 7.5 (Turing)"
    first = _FIRST_SM[precision]
    others = " or ".join(_SECOND_CHOICE.get(precision, ("fp16", "int8")))
    return f"take precision {others}; {precision} begins at compute capability {first // 10}.{first % 10}"
