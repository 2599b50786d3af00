"""Schedulers: dynamic batching with its queues and priorities, sequence batching, response cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trtbuild.triton.checks.premises import Problem
from trtbuild.triton.messages import ModelConfig, schema


def problems(config: ModelConfig) -> Iterator[Problem]:
    """Faults of what decides when a request runs."""
    if config.max_batch_size < 0:
        yield Problem("max_batch_size", f"{config.max_batch_size} is below 0", "0 is for a model that does not batch")
    scheduler = config.WhichOneof("scheduling_choice")
    if scheduler == "dynamic_batching":
        yield from _dynamic(config)
    if scheduler == "sequence_batching":
        yield from _sequence(config)
    if config.response_cache.enable and scheduler == "sequence_batching":
        yield Problem("response_cache", "Triton has no cache for sequences", "remove response_cache")
    if config.model_transaction_policy.decoupled:
        if config.platform == "tensorrt_plan":
            yield Problem("model_transaction_policy", "a plan gives one answer a request", "remove decoupled")
        if config.response_cache.enable:
            yield Problem("response_cache", "Triton has no cache for decoupled models", "remove one of the two")


def _sizes(config: ModelConfig, preferred: Any, place: str) -> Iterator[Problem]:
    for size in preferred:
        if size < 1:
            yield Problem(place, f"a batch of {size} is not possible", "sizes are at least 1")
        elif size > config.max_batch_size:
            yield Problem(
                place, f"{size} is more than max_batch_size {config.max_batch_size}",
                "set triton.preferred_batch_sizes, or let the profile's batch axis reach further",
            )  # fmt: skip
    if len(set(preferred)) != len(preferred):
        yield Problem(place, "a size is there twice", "leave one")


def _dynamic(config: ModelConfig) -> Iterator[Problem]:
    batching = config.dynamic_batching
    if config.max_batch_size == 0:
        yield Problem("dynamic_batching", "the model does not batch", "remove it, or export a batch axis")
    yield from _sizes(config, batching.preferred_batch_size, "dynamic_batching.preferred_batch_size")
    levels, default = batching.priority_levels, batching.default_priority_level
    place = "dynamic_batching.default_priority_level"
    if levels and not 1 <= default <= levels:
        yield Problem(place, f"{default} is not one of the levels 1 to {levels}", "set triton.priorities.default")
    if not levels and (default or batching.priority_queue_policy):
        yield Problem("dynamic_batching.priority_levels", "there are no levels", "set triton.priorities.levels")
    for level in batching.priority_queue_policy:
        if levels and not 1 <= level <= levels:
            said = f"{level} is not one of the levels 1 to {levels}"
            yield Problem("dynamic_batching.priority_queue_policy", said, "set triton.priorities.queues")
    if batching.preserve_ordering:
        yield from _ordered(batching)


def _ordered(batching: Any) -> Iterator[Problem]:
    place = "dynamic_batching.preserve_ordering"
    if batching.priority_levels > 1:
        yield Problem(place, "order cannot be kept between levels of priority", "leave one of the two")
    delay = schema().ModelQueuePolicy.DELAY
    for queue in (batching.default_queue_policy, *batching.priority_queue_policy.values()):
        if queue.default_timeout_microseconds and queue.timeout_action == delay:
            yield Problem(place, "a queue that delays late requests cannot keep their order", "use on_timeout: reject")
            return


def _sequence(config: ModelConfig) -> Iterator[Problem]:
    batching = config.sequence_batching
    if batching.HasField("oldest"):
        yield from _sizes(config, batching.oldest.preferred_batch_size, "sequence_batching.oldest.preferred_batch_size")
    if batching.HasField("direct") and not 0 <= batching.direct.minimum_slot_utilization <= 1:
        yield Problem("sequence_batching.direct.minimum_slot_utilization", "it is a share", "write 0 to 1")
    for control in batching.control_input:
        if not control.name or len(control.control) != 1:
            yield Problem("sequence_batching.control_input", "a control input has a name and one control", "set both")
