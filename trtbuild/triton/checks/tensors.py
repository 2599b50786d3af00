"""Inputs and outputs: by themselves, and against the plan's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from trtbuild.artifacts import EnginePlan, TensorSpec
from trtbuild.registry import nearest_hint
from trtbuild.triton.checks.premises import Premises, Problem
from trtbuild.triton.messages import ModelConfig, schema

_NCHW_DIMS = 3  # channels, height, width: without the batch axis


def problems(config: ModelConfig, premises: Premises) -> Iterator[Problem]:
    """Faults of inputs, outputs and what Triton makes of a batch for the model."""
    every = [*config.input, *config.output]
    for field in ("input", "output"):
        if not getattr(config, field):
            yield Problem(field, f"there is no {field}", "a model has at least one; auto-complete is not counted on")
    for name, count in Counter(t.name for t in every).items():
        if count > 1:
            yield Problem(f"tensor {name!r}", "the name is there more than once", "a tensor's name is its own")
    for field in ("input", "output"):
        for tensor in getattr(config, field):
            place = f"{field} {tensor.name!r}"
            yield from _alone(config, tensor, place)
            if field == "input":
                yield from _input(tensor, place)
    yield from _batch_tensors(config)
    if premises.plan is not None and config.platform == "tensorrt_plan":
        yield from _against_plan(config, premises.plan)


def _alone(config: ModelConfig, tensor: Any, place: str) -> Iterator[Problem]:
    if not tensor.name.strip():
        yield Problem(place, "it has no name", "name it as the plan does")
    if not tensor.data_type:
        yield Problem(place, "it has no data_type", "set data_type, such as TYPE_FP32")
    if not tensor.dims:
        yield Problem(place, "it has no dims", "write dims: [1] with an empty reshape for one value a row")
    for dims, word in ((tensor.dims, "dims"), (tensor.reshape.shape, "reshape")):
        wrong = [d for d in dims if d < 1 and d != -1]
        if wrong:
            yield Problem(place, f"{word} hold {wrong[0]}", "a size is at least 1, or -1 for any")
    if tensor.HasField("reshape"):
        yield from _reshape(config, tensor, place)
    on_plan = config.platform == "tensorrt_plan"
    if tensor.is_shape_tensor:
        if not on_plan:
            yield Problem(place, "only a plan has shape tensors", "remove is_shape_tensor")
        if tensor.data_type not in (schema().TYPE_INT32, schema().TYPE_INT64):
            yield Problem(place, "a shape tensor holds whole numbers", "its data_type is TYPE_INT32 or TYPE_INT64")
        if len(tensor.dims) > 1:
            yield Problem(place, "a shape tensor has one axis at most", "leave is_shape_tensor to 1-D tensors")
    if tensor.is_non_linear_format_io and (not on_plan or len(tensor.dims) != _NCHW_DIMS):
        yield Problem(place, "a non-linear format is for a plan's tensors of 3 dims", "remove is_non_linear_format_io")


def _reshape(config: ModelConfig, tensor: Any, place: str) -> Iterator[Problem]:
    shape = list(tensor.reshape.shape)
    if not shape and not config.max_batch_size:
        yield Problem(place, "an empty reshape is for models that batch", "remove reshape: nothing would be left")
    elif _pieces(tensor.dims) != _pieces(shape):
        yield Problem(place, "dims and reshape hold different numbers of values", "make their products equal")


def _pieces(dims: Sequence[int]) -> list[int]:
    """Products of the sizes between axes of any size: a reshape keeps each."""
    found: list[list[int]] = [[]]
    for d in dims:
        if d == -1:
            found.append([])
        else:
            found[-1].append(d)
    return [prod(piece) for piece in found]


def _input(tensor: Any, place: str) -> Iterator[Problem]:
    if tensor.format and len(tensor.dims) != _NCHW_DIMS:
        yield Problem(place, "FORMAT_NHWC and FORMAT_NCHW are for 3 dims", "remove format")


def _batch_tensors(config: ModelConfig) -> Iterator[Problem]:
    """Inputs that Triton makes from a batch, and outputs that it cuts."""
    inputs, outputs = {t.name for t in config.input}, {t.name for t in config.output}
    pb = schema()
    for number, made in enumerate(config.batch_input):
        place = f"batch_input[{number}]"
        if len(made.source_input) != 1 or made.source_input[0] not in inputs:
            yield Problem(place, "it needs one source_input that is an input", nearest_hint("", sorted(inputs)))
        if made.data_type not in (pb.TYPE_INT32, pb.TYPE_FP32):
            yield Problem(place, "its type can only be TYPE_INT32 or TYPE_FP32", "set data_type to one of them")
        if not made.target_name:
            yield Problem(place, "it names no target", "set target_name to the plan's input that takes it")
    for number, cut in enumerate(config.batch_output):
        place = f"batch_output[{number}]"
        if len(cut.source_input) != 1 or cut.source_input[0] not in inputs:
            yield Problem(place, "it needs one source_input that is an input", nearest_hint("", sorted(inputs)))
        if not cut.target_name or set(cut.target_name) - outputs or len(set(cut.target_name)) != len(cut.target_name):
            yield Problem(place, "its targets are not outputs, each once", nearest_hint("", sorted(outputs)))


def _against_plan(config: ModelConfig, plan: EnginePlan) -> Iterator[Problem]:
    from trtbuild.triton.config import batch_axis

    made = {name for b in config.batch_input for name in b.target_name}
    made |= {c.name for c in config.sequence_batching.control_input}
    made |= {s.input_name for s in config.sequence_batching.state}
    kept = {s.output_name for s in config.sequence_batching.state}
    shapes = {t.name for t in (*config.input, *config.output) if t.is_shape_tensor}
    axis = batch_axis([t for t in (*plan.inputs, *plan.outputs) if t.name not in shapes])
    largest = max((p.axes[axis].max for p in plan.profiles), default=0) if axis else 0
    if config.max_batch_size and not axis:
        yield Problem("max_batch_size", "the plan has no batch axis", "set it to 0")
    elif config.max_batch_size > largest:
        yield Problem("max_batch_size", f"{config.max_batch_size} is more than the profiles take", f"at most {largest}")
    for field, mine, theirs in (("input", config.input, plan.inputs), ("output", config.output, plan.outputs)):
        known = {t.name: t for t in theirs}
        for tensor in mine:
            if tensor.name not in known:
                yield Problem(
                    f"{field} {tensor.name!r}", f"the plan has no such {field}", nearest_hint(tensor.name, known)
                )
            else:
                yield from _alike(config, tensor, known[tensor.name], f"{field} {tensor.name!r}")
        missing = [n for n in known if n not in {t.name for t in mine} | (made if field == "input" else kept)]
        if missing and field == "input":
            yield Problem(f"input {missing[0]!r}", "the plan has it, the config has not", "add it")


def _alike(config: ModelConfig, tensor: Any, spec: TensorSpec, place: str) -> Iterator[Problem]:
    """One tensor against the plan's: type, rank, sizes."""
    from trtbuild.triton.config import TYPES

    pb = schema()
    if pb.DataType.Name(tensor.data_type) != TYPES.get(spec.dtype):
        said = f"{pb.DataType.Name(tensor.data_type)} where the plan has {spec.dtype}"
        yield Problem(place, said, f"set data_type to {TYPES.get(spec.dtype)}")
    if getattr(tensor, "optional", False):
        yield Problem(place, "a plan needs all of its inputs", "remove optional")
    if tensor.is_shape_tensor or getattr(tensor, "allow_ragged_batch", False):
        return
    batched = config.max_batch_size > 0
    dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
    want = [d if isinstance(d, int) else -1 for d in (spec.shape[1:] if batched else spec.shape)]
    if batched and len(dims) == len(spec.shape):
        yield Problem(place, f"dims {dims} hold the batch axis", f"leave it out where max_batch_size > 0: {want}")
    elif len(dims) != len(want) or any(m not in (t, -1) and t != -1 for m, t in zip(dims, want, strict=True)):
        yield Problem(place, f"dims {dims} where the plan has {want}", f"write {want}")
    elif any(mine == -1 != theirs for mine, theirs in zip(dims, want, strict=True)):
        yield Problem(place, f"dims {dims} promise any size where the plan has {want}", f"write {want}")
