"""The speed gate, as a spec asks for it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SpeedSpec(BaseModel):
    """How fast a quantised engine must be, beside the same model in FP16."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow_slower: bool = Field(
        False,
        description="Accept an int8, fp8 or best engine that is slower than its FP16 sibling. The gate is applied "
        "where this machine can run the plans; elsewhere the report says that it was not.",
    )
    margin: float = Field(
        0.02,
        ge=0,
        le=0.5,
        description="Share by which the median compute time may be longer and still count as equal: what two runs of "
        "one engine differ by.",
    )
