"""What serving costs, as a spec says it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CostSpec(BaseModel):
    """Price and traffic, from which the report works out what a million requests cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    price_per_hour: float = Field(gt=0, description="Price of one machine with the GPU, an hour.")
    currency: str = Field("USD", min_length=1, max_length=12, description="Word for the price's unit.")
    requests_per_second: float | None = Field(
        None,
        gt=0,
        description="Traffic, in requests of one row a second: whole machines are counted for it. When left out: a "
        "machine that is always busy.",
    )
