"""The Triton model folder, as a spec asks for it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, field_validator, model_validator


def _quoted(value: Any) -> Any:
    if isinstance(value, float):
        raise ValueError(f'{value} was read as a number; write it in quotes, such as "{value:.2f}"')  # noqa: TRY004
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class QueueSpec(_Strict):
    """What becomes of requests that wait."""

    max_size: int | None = Field(None, ge=1, description="Requests that may wait; more are refused. Default: no limit.")
    timeout_us: int | None = Field(None, ge=1, description="How long a request may wait, µs. Default: no limit.")
    on_timeout: Literal["reject", "delay"] = Field(
        "reject", description="reject answers with an error; delay serves it after all that are in time."
    )
    allow_timeout_override: bool = Field(False, description="Whether a request may name a shorter time of its own.")


class PrioritySpec(_Strict):
    """Levels of priority; 1 is served first."""

    levels: int = Field(ge=1, description="How many levels there are.")
    default: int = Field(ge=1, description="Level of a request that names none.")
    queues: dict[int, QueueSpec] = Field(
        default_factory=dict, description="Level to its own queue policy; the others take triton.queue."
    )


class ResourceSpec(_Strict):
    """What an instance holds while it runs."""

    count: int = Field(ge=1, description="How much of it an instance takes.")
    shared: bool = Field(False, description="Whether one pool serves all GPUs; by default each has its own.")


class RateLimiterSpec(_Strict):
    """Which model runs next where several share a GPU; the server needs --rate-limit=execution_count."""

    priority: int = Field(0, ge=0, description="Weight: a model of priority 2 runs half as often as one of priority 1.")
    resources: dict[str, ResourceSpec] = Field(
        default_factory=dict, description="Resource name to what is taken of it."
    )


class StepTensorSpec(_Strict):
    """A tensor that enters or leaves a step."""

    dtype: Literal[
        "string", "float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32",
        "uint64", "bool",
    ] = Field(description="Element type; string is bytes of any length.")  # fmt: skip
    shape: list[int | str] = Field(
        min_length=1, description="A size, or a name for any size, for each axis; the plan's batch axis first."
    )

    @field_validator("shape")
    @classmethod
    def _sizes(cls, shape: list[int | str]) -> list[int | str]:
        for size in shape:
            if isinstance(size, int) and size < 1:
                raise ValueError(f"size {size} is not possible; give an axis of any size a name, such as 'length'")
        return shape


class StepSpec(_Strict):
    """A step before or after the plan, in Triton's python backend."""

    file: str = Field(description="Python file with a class TritonPythonModel; relative to the spec.")
    inputs: dict[str, StepTensorSpec | None] = Field(
        min_length=1, description="Inputs by name; left empty, a tensor is the plan's of that name."
    )
    outputs: dict[str, StepTensorSpec | None] = Field(
        min_length=1, description="Outputs by name; left empty, a tensor is the plan's of that name."
    )
    instances: int = Field(1, ge=1, description="Processes that run it.")
    parameters: dict[str, str] = Field(default_factory=dict, description="What initialize() finds in model_config.")


class TritonSpec(_Strict):
    """The Triton model folder."""

    release: Annotated[str, BeforeValidator(_quoted)] = Field(
        "26.04", pattern=r"^\d\d\.\d\d$", description='Triton release that will serve it, for example "26.04".'
    )
    dynamic_batching: bool = Field(True, description="Whether Triton puts requests together, where the model batches.")
    max_queue_delay_us: int = Field(500, ge=0, description="How long the batcher may wait for more requests, µs.")
    preferred_batch_sizes: list[PositiveInt] | None = Field(
        None, description="Sizes that are sent on without waiting; default: the profiles' opt. [] for the largest only."
    )
    preserve_ordering: bool = Field(False, description="Whether answers leave in the order that requests came in.")
    queue: QueueSpec | None = Field(None, description="What becomes of requests that wait.")
    priorities: PrioritySpec | None = Field(None, description="Levels of priority.")
    instances: int = Field(1, ge=1, description="Model instances a GPU, for each instance group.")
    gpus: list[Annotated[int, Field(ge=0)]] = Field(
        default_factory=list, description="GPU numbers to run on; default: all."
    )
    profile_groups: Literal["auto", "each", "one"] = Field(
        "auto",
        description="Where there are several profiles: each has an instance group of its own, or one group has them "
        "all. auto takes each only where every profile takes the same sizes: a group gets requests of any size.",
    )
    context_memory: Literal["static", "on_profile_change"] | None = Field(
        None, description="When an execution context takes its memory; default: Triton's, which is static."
    )
    response_cache: bool = Field(False, description="Whether Triton may answer a repeated request from its cache.")
    warmup: int = Field(
        1, ge=0, description="How often each profile is run at its smallest and largest batch at load; 0 for never."
    )
    versions: PositiveInt | list[PositiveInt] | Literal["all"] = Field(
        1, description="Versions to serve: the latest n, those in a list, or all."
    )
    cuda_graphs: bool = Field(
        False, description="Whether to record CUDA graphs: for every profile, at its opt sizes, at batch 1, the "
        "preferred sizes and the largest.",
    )  # fmt: skip
    rate_limiter: RateLimiterSpec | None = Field(None, description="Shares a GPU between models.")
    shape_tensors: list[str] = Field(
        default_factory=list, description="Inputs and outputs that are shapes: their values say how large tensors are."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Output name to a file with a label a line; relative to the spec."
    )
    metrics: dict[str, list[float]] = Field(
        default_factory=dict, description="Histogram metric to its upper bounds, ascending (release 24.11 and later)."
    )
    metric_tags: dict[str, str] = Field(default_factory=dict, description="Labels for the model's metrics.")
    parameters: dict[str, str] = Field(default_factory=dict, description="Further parameters of the config.")
    preprocess: StepSpec | None = Field(None, description="A step before the plan.")
    postprocess: StepSpec | None = Field(None, description="A step after the plan.")
    max_inflight_requests: int | None = Field(
        None, ge=1, description="Requests inside the ensemble at once (release 25.12 and later); with a step only."
    )
    override: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields of config.pbtxt as protobuf JSON, merged last: tensors by their names, maps by their keys; "
        "other lists are replaced. Checked like the rest.",
    )

    @model_validator(mode="after")
    def _batcher(self) -> TritonSpec:
        named = [n for n in ("queue", "priorities") if getattr(self, n)]
        named += ["preserve_ordering"] if self.preserve_ordering else []
        if named and not self.dynamic_batching:
            raise ValueError(f"{named[0]} is the dynamic batcher's; remove it, or dynamic_batching: false")
        if self.max_inflight_requests and not (self.preprocess or self.postprocess):
            raise ValueError("max_inflight_requests is an ensemble's; add preprocess or postprocess")
        return self
