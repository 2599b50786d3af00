"""config.pbtxt through Triton's own protobuf messages, derived from the engine and its profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtbuild.artifacts import EnginePlan, TensorSpec
from trtbuild.errors import BuildError, missing_package

_TYPES = {
    "float32": "TYPE_FP32", "float16": "TYPE_FP16", "float64": "TYPE_FP64", "bfloat16": "TYPE_BF16",
    "int64": "TYPE_INT64", "int32": "TYPE_INT32", "int8": "TYPE_INT8", "uint8": "TYPE_UINT8", "bool": "TYPE_BOOL",
}  # fmt: skip


def model_config(
    name: str,
    plans: Sequence[EnginePlan],
    files: Mapping[str, str],
    *,
    max_queue_delay_us: int,
    instances: int,
    response_cache: bool,
    provenance: Mapping[str, str],
) -> str:
    """The text of config.pbtxt.

    Args:
        name: Model name.
        plans: The plans of the fleet; they share inputs, outputs and profiles.
        files: Compute capability to the plan's file name.
        max_queue_delay_us: How long the batcher may wait, microseconds.
        instances: Instances a GPU.
        response_cache: Whether Triton may answer from its cache.
        provenance: What to record in ``parameters``.
    """
    try:
        from google.protobuf import text_format
        from tritonclient.grpc import model_config_pb2
    except (ImportError, RuntimeError) as error:
        raise missing_package("tritonclient[grpc]", "triton", needed_for="writing config.pbtxt") from error
    first = plans[0]
    axis = batch_axis((*first.inputs, *first.outputs))
    config = model_config_pb2.ModelConfig(name=name, platform="tensorrt_plan")
    config.max_batch_size = max((p.axes[axis].max for p in first.profiles), default=0) if axis else 0
    _add_tensors(config.input, first.inputs, batched=bool(axis))
    _add_tensors(config.output, first.outputs, batched=bool(axis))
    if len(files) == 1:
        config.default_model_filename = next(iter(files.values()))
    else:
        for capability, file in files.items():
            config.cc_model_filenames[capability] = file
    for number in range(max(len(first.profiles), 1)):
        group = config.instance_group.add(count=instances, kind=model_config_pb2.ModelInstanceGroup.KIND_GPU)
        if len(first.profiles) > 1:
            group.profile.append(str(number))
    if config.max_batch_size > 1 and axis:
        preferred = sorted({p.axes[axis].opt for p in first.profiles})
        config.dynamic_batching.preferred_batch_size.extend(preferred)
        config.dynamic_batching.max_queue_delay_microseconds = max_queue_delay_us
    if response_cache:
        config.response_cache.enable = True
    for key, value in provenance.items():
        config.parameters[key].string_value = value
    return str(text_format.MessageToString(config))


def batch_axis(tensors: Sequence[TensorSpec]) -> str | None:
    """The axis name that leads every input and output; None when there is none, and Triton must not batch."""
    leading = {t.shape[0] if t.shape else None for t in tensors}
    name = leading.pop() if len(leading) == 1 else None
    return name if isinstance(name, str) else None


def _add_tensors(field: Any, tensors: Sequence[TensorSpec], *, batched: bool) -> None:
    for tensor in tensors:
        if tensor.dtype not in _TYPES:
            raise BuildError(
                f"Triton has no type for {tensor.dtype}", place=f"tensor {tensor.name}", hint="cast it in the model"
            )
        shape = tensor.shape[1:] if batched else tensor.shape
        dims = [d if isinstance(d, int) else -1 for d in shape]
        added = field.add(name=tensor.name, data_type=_TYPES[tensor.dtype])
        added.dims.extend(dims or [1])
        if not dims:  # one value a row: Triton has no empty dims
            added.reshape.SetInParent()
