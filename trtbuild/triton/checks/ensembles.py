"""An ensemble's steps: every tensor is made once, before it is used, and used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from trtbuild.registry import nearest_hint
from trtbuild.triton.checks.premises import Problem
from trtbuild.triton.messages import ModelConfig


def problems(config: ModelConfig) -> Iterator[Problem]:
    """Faults of an ensemble by itself; what its models take is theirs."""
    for field in ("instance_group", "model_warmup"):
        if getattr(config, field):
            yield Problem(field, "an ensemble runs nothing itself", f"remove {field}")
    if config.HasField("optimization"):
        yield Problem("optimization", "an ensemble runs nothing itself", "remove optimization")
    steps = config.ensemble_scheduling.step
    if not steps:
        yield Problem("ensemble_scheduling.step", "there is no step", "add one for each model")
    for number, step in enumerate(steps):
        if not (step.model_name and step.input_map and step.output_map):
            place = f"ensemble_scheduling.step[{number}]"
            yield Problem(place, "it lacks a model, an input_map or an output_map", "give all three")
    yield from _flow(config)


def _flow(config: ModelConfig) -> Iterator[Problem]:
    steps = list(config.ensemble_scheduling.step)
    inputs = {t.name for t in config.input}
    made = Counter([*inputs, *(tensor for step in steps for tensor in step.output_map.values())])
    used = {tensor for step in steps for tensor in step.input_map.values()}
    outputs = {t.name for t in config.output}
    for tensor, count in made.items():
        if count > 1:
            yield Problem(f"ensemble tensor {tensor!r}", "it is made more than once", "a tensor has one source")
        if tensor not in used | outputs or (tensor in inputs and tensor not in used):
            yield Problem(f"ensemble tensor {tensor!r}", "nothing uses it", "leave it out of the maps")
    ready, waiting = set(inputs), steps
    while waiting:
        done = [step for step in waiting if set(step.input_map.values()) <= ready]
        if not done:
            lacking = sorted({t for step in waiting for t in step.input_map.values()} - ready)
            yield Problem(f"ensemble tensor {lacking[0]!r}", "nothing makes it in time", "map an output onto it")
            return
        ready |= {tensor for step in done for tensor in step.output_map.values()}
        waiting = [step for step in waiting if step not in done]
    for name in sorted(outputs - ready):
        yield Problem(f"output {name!r}", "no step makes it", "map a step's output onto it")


def against(config: ModelConfig, others: Mapping[str, ModelConfig]) -> Iterator[Problem]:
    """Faults of an ensemble beside the models that its steps name.

    Args:
        config: The ensemble's.
        others: Name of every model of the repository to its config.
    """
    for number, step in enumerate(config.ensemble_scheduling.step):
        place = f"ensemble_scheduling.step[{number}]"
        model = others.get(step.model_name)
        if model is None:
            said = f"the repository has no model {step.model_name!r}"
            yield Problem(place, said, nearest_hint(step.model_name, sorted(others)))
            continue
        inputs, outputs = {t.name: t for t in model.input}, {t.name for t in model.output}
        for name in sorted(set(step.input_map) - set(inputs)) + sorted(set(step.output_map) - outputs):
            known = [*inputs, *sorted(outputs)]
            yield Problem(place, f"{step.model_name} has no tensor {name!r} to map", nearest_hint(name, known))
        for name in [n for n, t in inputs.items() if n not in step.input_map and not t.optional]:
            yield Problem(
                place, f"nothing is mapped onto the input {name!r} of {step.model_name}", "add it to input_map"
            )
        if config.max_batch_size > model.max_batch_size:
            said = f"{config.max_batch_size} is more than {step.model_name} takes"
            yield Problem("max_batch_size", said, f"at most {model.max_batch_size}")
    yield from _types(config, others)


def _types(config: ModelConfig, others: Mapping[str, ModelConfig]) -> Iterator[Problem]:
    """One ensemble tensor has one type wherever it comes and goes."""
    seen = {t.name: t.data_type for t in (*config.input, *config.output)}
    for step in config.ensemble_scheduling.step:
        model = others.get(step.model_name)
        if model is None:
            continue
        types = {t.name: t.data_type for t in (*model.input, *model.output)}
        for name, tensor in (*step.input_map.items(), *step.output_map.items()):
            if name in types and seen.setdefault(tensor, types[name]) != types[name]:
                said = f"it is of another type in {step.model_name}"
                yield Problem(f"ensemble tensor {tensor!r}", said, "a tensor has one type: convert it in a step")
