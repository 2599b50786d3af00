"""config.pbtxt of a plan, derived from the engine and its profiles; the spec says only what they cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtbuild.artifacts import EnginePlan, TensorSpec
from trtbuild.errors import BuildError, SpecError
from trtbuild.registry import nearest_hint
from trtbuild.spec.triton import QueueSpec, TritonSpec
from trtbuild.triton.messages import ModelConfig, schema
from trtbuild.triton.profiles import add_cuda_graphs, add_instance_groups, add_warmup

TYPES = {
    "float32": "TYPE_FP32", "float16": "TYPE_FP16", "float64": "TYPE_FP64", "bfloat16": "TYPE_BF16",
    "int64": "TYPE_INT64", "int32": "TYPE_INT32", "int16": "TYPE_INT16", "int8": "TYPE_INT8",
    "uint64": "TYPE_UINT64", "uint32": "TYPE_UINT32", "uint16": "TYPE_UINT16", "uint8": "TYPE_UINT8",
    "bool": "TYPE_BOOL", "string": "TYPE_STRING",
}  # fmt: skip


def model_config(
    name: str,
    plan: EnginePlan,
    files: Mapping[str, str],
    settings: TritonSpec,
    *,
    provenance: Mapping[str, str],
    labels: Mapping[str, str],
) -> ModelConfig:
    """The config of a plan, without the user's override.

    Args:
        name: Model name.
        plan: One plan of the fleet; all share inputs, outputs and profiles.
        files: Compute capability to the plan's file name.
        settings: The spec's ``triton`` block.
        provenance: What to record in ``parameters``.
        labels: Output name to the label file's name in the folder.

    Raises:
        BuildError: A tensor's type is none of Triton's.
        SpecError: The spec names a tensor that the plan has not.
    """
    _know_tensors(plan, settings)
    shapes = settings.shape_tensors
    axis = batch_axis([t for t in (*plan.inputs, *plan.outputs) if t.name not in shapes])
    config = schema().ModelConfig(name=name, platform="tensorrt_plan")
    config.max_batch_size = max((p.axes[axis].max for p in plan.profiles), default=0) if axis else 0
    for field, tensors in ((config.input, plan.inputs), (config.output, plan.outputs)):
        add_tensors(field, tensors, batched=bool(axis), shapes=shapes)
    for output in config.output:
        output.label_filename = labels.get(output.name, "")
    if len(files) == 1:
        config.default_model_filename = next(iter(files.values()))
    else:
        for capability, file in files.items():
            config.cc_model_filenames[capability] = file
    _add_versions(config, settings)
    if axis and config.max_batch_size > 1 and settings.dynamic_batching:
        _add_batching(config, plan, axis, settings)
    add_instance_groups(config, plan, settings)
    add_warmup(config, plan, axis, settings)
    if settings.cuda_graphs:
        add_cuda_graphs(config, plan, axis)
    if settings.response_cache:
        config.response_cache.enable = True
    _add_metrics(config, settings)
    for key, value in {**_parameters(settings), **provenance}.items():
        config.parameters[key].string_value = value
    return config


def batch_axis(tensors: Sequence[TensorSpec]) -> str | None:
    """The axis name that leads every input and output; None when there is none, and Triton must not batch."""
    leading = {t.shape[0] if t.shape else None for t in tensors}
    name = leading.pop() if len(leading) == 1 else None
    return name if isinstance(name, str) else None


def add_tensors(field: Any, tensors: Sequence[TensorSpec], *, batched: bool, shapes: Sequence[str] = ()) -> None:
    """Adds inputs or outputs; where the model batches, the first axis is left out.

    A shape tensor has no batch axis: where the model batches, its first value is the batch size, and dims count the
    others.
    """
    for tensor in tensors:
        if tensor.dtype not in TYPES:
            raise BuildError(
                f"Triton has no type for {tensor.dtype}", place=f"tensor {tensor.name}", hint="cast it in the model"
            )
        added = field.add(name=tensor.name, data_type=TYPES[tensor.dtype])
        if tensor.name in shapes:
            added.is_shape_tensor = True
            added.dims.extend(d - batched if isinstance(d, int) else -1 for d in tensor.shape)
            continue
        shape = tensor.shape[1:] if batched else tensor.shape
        dims = [d if isinstance(d, int) else -1 for d in shape]
        added.dims.extend(dims or [1])
        if not dims:  # one value a row: Triton has no empty dims
            added.reshape.SetInParent()


def _know_tensors(plan: EnginePlan, settings: TritonSpec) -> None:
    """The spec names tensors of the plan and no others."""
    inputs, outputs = [t.name for t in plan.inputs], [t.name for t in plan.outputs]
    for place, named, known in (
        ("triton.shape_tensors", settings.shape_tensors, [*inputs, *outputs]),
        ("triton.labels", settings.labels, outputs),
    ):
        for name in named:
            if name not in known:
                raise SpecError(f"the plan has no tensor {name!r} there", place=place, hint=nearest_hint(name, known))


def _add_versions(config: ModelConfig, settings: TritonSpec) -> None:
    if settings.versions == "all":
        config.version_policy.all.SetInParent()
    elif isinstance(settings.versions, list):
        config.version_policy.specific.versions.extend(settings.versions)
    else:
        config.version_policy.latest.num_versions = settings.versions


def _add_batching(config: ModelConfig, plan: EnginePlan, axis: str, settings: TritonSpec) -> None:
    batching = config.dynamic_batching
    batching.max_queue_delay_microseconds = settings.max_queue_delay_us
    preferred = settings.preferred_batch_sizes
    if preferred is None:  # a size of 1 would send every request on alone
        preferred = sorted({p.axes[axis].opt for p in plan.profiles} - {1})
    batching.preferred_batch_size.extend(preferred)
    batching.preserve_ordering = settings.preserve_ordering
    if settings.queue:
        _set_queue(batching.default_queue_policy, settings.queue)
    if settings.priorities:
        batching.priority_levels = settings.priorities.levels
        batching.default_priority_level = settings.priorities.default
        for level, queue in settings.priorities.queues.items():
            if not 1 <= level <= settings.priorities.levels:
                raise SpecError(
                    f"there is no priority level {level}",
                    place="triton.priorities.queues",
                    hint=f"levels are 1 to {settings.priorities.levels}",
                )
            _set_queue(batching.priority_queue_policy[level], queue)


def _set_queue(policy: Any, queue: QueueSpec) -> None:
    policy.SetInParent()
    policy.timeout_action = {"reject": "REJECT", "delay": "DELAY"}[queue.on_timeout]
    policy.default_timeout_microseconds = queue.timeout_us or 0
    policy.allow_timeout_override = queue.allow_timeout_override
    policy.max_queue_size = queue.max_size or 0


def _add_metrics(config: ModelConfig, settings: TritonSpec) -> None:
    for family, buckets in settings.metrics.items():
        control = config.model_metrics.metric_control.add()
        control.metric_identifier.family = family
        control.histogram_options.buckets.extend(buckets)
    for tag, value in settings.metric_tags.items():
        config.metric_tags[tag] = value


def _parameters(settings: TritonSpec) -> dict[str, str]:
    context = (
        {"execution_context_allocation_strategy": settings.context_memory.upper()} if settings.context_memory else {}
    )
    return {**settings.parameters, **context, "trtbuild.release": settings.release}
