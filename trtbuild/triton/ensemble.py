"""Steps before and after the plan: python backend models, and the ensemble that joins them to it.

The ensemble is what a client calls. It takes what no step makes, and gives what no step takes::

    text ──► NAME_preprocess ──► ids, mask ──► NAME ──► logits ──► NAME_postprocess ──► label
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtbuild.artifacts import EnginePlan, TensorSpec
from trtbuild.errors import SpecError
from trtbuild.registry import nearest_hint
from trtbuild.spec.triton import StepSpec, StepTensorSpec, TritonSpec
from trtbuild.triton.config import add_tensors, batch_axis
from trtbuild.triton.messages import ModelConfig, schema

PREPROCESS, POSTPROCESS, ENSEMBLE = "preprocess", "postprocess", "ensemble"


@dataclass(frozen=True)
class Step:
    """A step with its tensors settled.

    Attributes:
        name: The model's name.
        file: The user's file.
        inputs: What it takes, the batch axis in front where the plan batches.
        outputs: What it gives.
        settings: As the spec has it.
    """

    name: str
    file: Path
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    settings: StepSpec


def steps(name: str, plan: EnginePlan, settings: TritonSpec, folder: Path) -> dict[str, Step]:
    """The steps that the spec names, by what they are called there; tensors left empty are the plan's.

    Raises:
        SpecError: No such file, no TritonPythonModel in it, or a tensor that is nobody's.
    """
    found: dict[str, Step] = {}
    inputs, outputs = ({t.name: t for t in tensors} for tensors in (plan.inputs, plan.outputs))
    for kind, asked in ((PREPROCESS, settings.preprocess), (POSTPROCESS, settings.postprocess)):
        if asked is None:
            continue
        place = f"triton.{kind}"
        made = found[PREPROCESS].outputs if PREPROCESS in found else {}
        known = {PREPROCESS: ({}, inputs), POSTPROCESS: ({**inputs, **made, **outputs}, {})}[kind]
        found[kind] = Step(
            f"{name}_{kind}",
            python_model(folder / asked.file, f"{place}.file"),
            _tensors(asked.inputs, known[0], f"{place}.inputs"),
            _tensors(asked.outputs, known[1], f"{place}.outputs"),
            asked,
        )
    return found


def _tensors(
    asked: Mapping[str, StepTensorSpec | None], known: Mapping[str, TensorSpec], place: str
) -> dict[str, TensorSpec]:
    found = {}
    for name, spec in asked.items():
        if spec is not None:
            found[name] = TensorSpec(name, spec.dtype, tuple(spec.shape))
        elif name in known:
            found[name] = known[name]
        else:
            hint = nearest_hint(name, known) if known else f"write {name}: {{dtype: ..., shape: [...]}}"
            raise SpecError(f"nothing says what {name!r} is", place=place, hint=hint)
    return found


def python_model(file: Path, place: str) -> Path:
    """The user's file, when it holds what the python backend calls."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SpecError(f"there is no file {file}", place=place, hint="paths are relative to the spec") from error
    except (SyntaxError, ValueError, OSError) as error:
        raise SpecError(f"{file.name} is not Python: {error}", place=place, hint="mend it first") from error
    model = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "TritonPythonModel"), None)
    if model is None or not any(isinstance(n, ast.FunctionDef) and n.name == "execute" for n in model.body):
        raise SpecError(
            f"{file.name} has no class TritonPythonModel with a method execute",
            place=place,
            hint="the python backend calls TritonPythonModel.execute(requests), which returns a response for each",
        )
    return file


def step_config(step: Step, plan_config: ModelConfig, plan: EnginePlan) -> ModelConfig:
    """The config of a step; it batches as the plan does."""
    axis = _axis(plan, plan_config)
    config = schema().ModelConfig(name=step.name, backend="python", max_batch_size=plan_config.max_batch_size)
    for field, tensors in ((config.input, step.inputs), (config.output, step.outputs)):
        _hold_batched(tensors, axis, step.name)
        add_tensors(field, list(tensors.values()), batched=axis is not None)
    config.instance_group.add(count=step.settings.instances, kind=schema().ModelInstanceGroup.KIND_CPU)
    for key, value in step.settings.parameters.items():
        config.parameters[key].string_value = value
    return config


def _hold_batched(tensors: Mapping[str, TensorSpec], axis: str | None, place: str) -> None:
    for tensor in tensors.values():
        if axis is not None and tensor.shape[:1] != (axis,):
            raise SpecError(
                f"{tensor.name!r} does not begin with the batch axis",
                place=f"triton {place}",
                hint=f"the plan batches over {axis}: write shape: [{axis}, ...]",
            )


def _axis(plan: EnginePlan, plan_config: ModelConfig) -> str | None:
    if not plan_config.max_batch_size:
        return None
    shapes = {t.name for t in (*plan_config.input, *plan_config.output) if t.is_shape_tensor}
    return batch_axis([t for t in (*plan.inputs, *plan.outputs) if t.name not in shapes])


def ensemble_config(
    name: str, parts: Mapping[str, Step], plan_config: ModelConfig, plan: EnginePlan, settings: TritonSpec
) -> ModelConfig:
    """The ensemble's config: tensors keep their names, and one name is one tensor.

    Raises:
        SpecError: A step makes a tensor that the plan takes as well as gives, or no step uses what another makes.
    """
    plan_inputs, plan_outputs = ({t.name: t for t in tensors} for tensors in (plan.inputs, plan.outputs))
    chain: list[tuple[str, Mapping[str, TensorSpec], Mapping[str, TensorSpec]]] = []
    before, after = parts.get(PREPROCESS), parts.get(POSTPROCESS)
    if before:
        chain.append((before.name, before.inputs, before.outputs))
    chain.append((plan_config.name, plan_inputs, plan_outputs))
    if after:
        chain.append((after.name, after.inputs, after.outputs))
    made: dict[str, TensorSpec] = {}
    used: dict[str, TensorSpec] = {}
    for model, inputs, outputs in chain:
        for tensor in inputs.values():
            _hold_same(tensor, made.get(tensor.name, used.get(tensor.name, tensor)), model)
            used.setdefault(tensor.name, tensor)
        for tensor in outputs.values():
            if tensor.name in {**made, **used}:
                raise SpecError(
                    f"{model} makes {tensor.name!r}, which is there before it",
                    place=f"ensemble {name}",
                    hint="call the step's output something else",
                )
            made[tensor.name] = tensor
    batched = plan_config.max_batch_size > 0
    config = schema().ModelConfig(name=name, platform="ensemble", max_batch_size=plan_config.max_batch_size)
    add_tensors(config.input, [t for n, t in used.items() if n not in made], batched=batched)
    add_tensors(config.output, [t for n, t in made.items() if n not in used], batched=batched)
    for model, inputs, outputs in chain:
        step = config.ensemble_scheduling.step.add(model_name=model, model_version=-1)
        _map(step.input_map, inputs)
        _map(step.output_map, outputs)
    config.ensemble_scheduling.max_inflight_requests = settings.max_inflight_requests or 0
    return config


def _map(field: Any, tensors: Mapping[str, TensorSpec]) -> None:
    for name in tensors:
        field[name] = name


def _hold_same(mine: TensorSpec, theirs: TensorSpec, model: str) -> None:
    alike = len(mine.shape) == len(theirs.shape) and all(
        a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(mine.shape, theirs.shape, strict=True)
    )
    if mine.dtype != theirs.dtype or not alike:
        raise SpecError(
            f"{model} takes {mine.name!r} as {mine.dtype} {list(mine.shape)}, where it is {theirs.dtype} "
            f"{list(theirs.shape)}",
            place="triton",
            hint="leave the tensor empty in the step to take it as it is",
        )
