"""Name, files, versions, instance groups, warm-up, CUDA graphs, metrics: what decides whether a model loads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from trtbuild.registry import nearest_hint
from trtbuild.triton.checks.premises import Premises, Problem
from trtbuild.triton.messages import ModelConfig, schema

_CONTEXT = "execution_context_allocation_strategy"


def bad_name(name: str) -> Iterator[Problem]:
    """Faults of a model's name: Triton's, and those of a name that would lead out of its folder."""
    if not name.strip():
        yield Problem("name", "there is no name", "name the model, with letters, digits, '_', '-' and '.'")
    elif name != name.strip() or set(name) & set('/\\:*?"<>|') or not name.isprintable() or name.strip(".") == "":
        yield Problem("name", f"Triton forbids the name {name!r}", "use letters, digits, '_', '-' and '.'")
    elif name.startswith("."):
        yield Problem("name", f"the name {name!r} begins with a dot: such folders are hidden", "begin with a letter")


def name_problems(config: ModelConfig, premises: Premises) -> Iterator[Problem]:
    """Faults of the name, and of a name that is not the folder's."""
    yield from bad_name(config.name)
    if premises.folder is not None and config.name and config.name != premises.folder:
        yield Problem("name", f"{config.name!r} lies in the folder {premises.folder!r}", "Triton wants the same name")


def problems(config: ModelConfig, premises: Premises) -> Iterator[Problem]:
    """Faults of how a plan or a step is loaded."""
    yield from _files(config, premises)
    yield from _versions(config, premises)
    yield from _groups(config, premises)
    yield from _warmup(config, premises)
    yield from _graphs(config)
    yield from _metrics(config)
    context = config.parameters[_CONTEXT].string_value if _CONTEXT in config.parameters else "STATIC"
    if context not in ("STATIC", "ON_PROFILE_CHANGE"):
        yield Problem(f"parameters.{_CONTEXT}", f"{context!r} is not known", "it is STATIC or ON_PROFILE_CHANGE")


def _files(config: ModelConfig, premises: Premises) -> Iterator[Problem]:
    named = {"default_model_filename": config.default_model_filename} if config.default_model_filename else {}
    for capability, file in config.cc_model_filenames.items():
        named[f"cc_model_filenames {capability!r}"] = file
        if not re.fullmatch(r"\d{1,2}\.\d", capability):
            yield Problem(f"cc_model_filenames {capability!r}", "not a compute capability", 'write one like "8.9"')
    for place, file in named.items():
        if "/" in file or file in (".", ".."):
            yield Problem(place, f"{file!r} leads out of the version folder", "name a file in it")
        elif premises.files is not None and not any(f.endswith(f"/{file}") for f in premises.files):
            yield Problem(place, f"no version folder has {file!r}", "put the plan there, or name the one that is there")
    for output in config.output:
        label = output.label_filename
        if label and premises.files is not None and label not in premises.files:
            yield Problem(f"output {output.name!r}", f"there is no label file {label!r}", "set triton.labels")


def _versions(config: ModelConfig, premises: Premises) -> Iterator[Problem]:
    policy, choice = config.version_policy, config.version_policy.WhichOneof("policy_choice")
    if choice == "latest" and policy.latest.num_versions < 1:
        yield Problem("version_policy.latest", "0 versions would be served", "set triton.versions to 1 or more")
    if choice == "specific":
        asked = list(policy.specific.versions)
        if not asked or min(asked) < 1:
            yield Problem("version_policy.specific", f"no versions in {asked}", "name versions from 1 on")
        elif len(set(asked)) != len(asked):
            yield Problem("version_policy.specific", f"a version is there twice in {asked}", "leave one")
        elif premises.versions and not premises.versions & set(asked):
            there = sorted(premises.versions)
            yield Problem(
                "version_policy.specific", f"the folder has {there}, none of {asked}", "nothing would be served"
            )


def _groups(config: ModelConfig, premises: Premises) -> Iterator[Problem]:
    on_plan = config.platform == "tensorrt_plan"
    kinds = schema().ModelInstanceGroup
    profiles = max(len(premises.plan.profiles), 1) if premises.plan else None
    for name, count in Counter(g.name for g in config.instance_group if g.name).items():
        if count > 1:
            yield Problem("instance_group", f"two groups are called {name!r}", "a group's name is its own")
    for number, group in enumerate(config.instance_group):
        place = f"instance_group[{number}]"
        if group.count < 0:
            yield Problem(place, f"a count of {group.count}", "set triton.instances to 1 or more")
        if on_plan and group.kind not in (kinds.KIND_GPU, kinds.KIND_AUTO):
            yield Problem(place, "a plan runs on a GPU", "set kind: KIND_GPU")
        if group.gpus and group.kind in (kinds.KIND_CPU, kinds.KIND_MODEL):
            yield Problem(place, "it names GPUs and does not run on them", "remove gpus")
        if any(g < 0 for g in group.gpus) or len(set(group.gpus)) != len(group.gpus):
            yield Problem(place, f"not GPU numbers, each once: {list(group.gpus)}", "set triton.gpus, from 0 on")
        for profile in group.profile:
            if not on_plan or not re.fullmatch(r"\d+", profile) or (profiles is not None and int(profile) >= profiles):
                said = f"the plan's profiles are 0 to {profiles - 1}" if profiles else "a profile is a number from 0 on"
                yield Problem(place, f"profile {profile!r} is not there", said)
        yield from _resources(group, place)


def _resources(group: Any, place: str) -> Iterator[Problem]:
    pools: dict[str, bool] = {}
    for resource in group.rate_limiter.resources:
        if not resource.name or resource.count < 1:
            yield Problem(place, "a resource has a name and a count from 1 on", "set triton.rate_limiter.resources")
        if pools.setdefault(resource.name, getattr(resource, "global")) != getattr(resource, "global"):
            yield Problem(place, f"the resource {resource.name!r} is both global and a GPU's own", "leave one")


def _warmup(config: ModelConfig, premises: Premises) -> Iterator[Problem]:
    inputs = {t.name: t for t in config.input}
    for sample in config.model_warmup:
        place = f"model_warmup {sample.name!r}"
        if not 1 <= sample.batch_size <= max(config.max_batch_size, 1):
            hint = f"it is 1 to {max(config.max_batch_size, 1)}; 0 is skipped in silence"
            yield Problem(place, f"a batch of {sample.batch_size}", hint)
        for name in [n for n in inputs if n not in sample.inputs and not getattr(inputs[n], "optional", False)]:
            yield Problem(place, f"it leaves out the input {name!r}", "a failed sample ends the load: give all inputs")
        for name, given in sample.inputs.items():
            if name not in inputs:
                yield Problem(place, f"there is no input {name!r}", nearest_hint(name, inputs))
                continue
            yield from _sample(given, inputs[name], f"{place}, input {name!r}", premises)


def _sample(given: Any, described: Any, place: str, premises: Premises) -> Iterator[Problem]:
    if given.WhichOneof("input_data_type") is None:
        yield Problem(place, "nothing says what is in it", "set zero_data, random_data or input_data_file")
    if given.data_type != described.data_type:
        yield Problem(place, "its data_type is not the input's", "take the input's data_type")
    wanted = list(described.dims)
    fits = len(given.dims) == len(wanted) and all(w in (-1, d) for d, w in zip(given.dims, wanted, strict=False))
    if not fits or min(given.dims, default=1) < 1:
        yield Problem(place, f"dims {list(given.dims)} are not sizes for {wanted}", "write the sizes of one request")
    if given.input_data_file and premises.files is not None and f"warmup/{given.input_data_file}" not in premises.files:
        yield Problem(place, f"there is no file warmup/{given.input_data_file}", "put it into the model's folder")


def _graphs(config: ModelConfig) -> Iterator[Problem]:
    cuda = config.optimization.cuda
    inputs = {t.name: t for t in config.input}
    if cuda.graph_spec and not cuda.graphs:
        yield Problem("optimization.cuda", "graph_spec without graphs: none is recorded", "set graphs: true")
    shapes = [name for name, tensor in inputs.items() if tensor.is_shape_tensor]
    if cuda.graphs and shapes:  # a recorded graph is found by the inputs' sizes, not by a shape tensor's values
        said = f"a graph would be played for other values of the shape tensor {shapes[0]!r}"
        yield Problem("optimization.cuda", said, "leave out CUDA graphs")
    for number, spec in enumerate(cuda.graph_spec):
        place = f"optimization.cuda.graph_spec[{number}]"
        low, high = (1, config.max_batch_size) if config.max_batch_size else (0, 0)
        if not low <= spec.batch_size <= high:
            yield Problem(place, f"a batch of {spec.batch_size}", f"it is {low} to {high} here")
        yield from _graph_inputs(spec.input, inputs, place)
        if spec.HasField("graph_lower_bound"):
            bound = spec.graph_lower_bound
            yield from _graph_inputs(bound.input, inputs, f"{place}.graph_lower_bound")
            if not low <= bound.batch_size <= spec.batch_size:
                said = f"a batch of {bound.batch_size} is no lower bound of {spec.batch_size}"
                yield Problem(f"{place}.graph_lower_bound", said, f"it is {low} to {spec.batch_size}")
            for name in set(spec.input) & set(bound.input):
                if any(b > d for b, d in zip(bound.input[name].dim, spec.input[name].dim, strict=False)):
                    yield Problem(
                        f"{place}.graph_lower_bound", f"{name!r} is larger than the graph's", "make it smaller"
                    )


def _graph_inputs(shapes: Any, inputs: dict[str, Any], place: str) -> Iterator[Problem]:
    missing, unknown = [n for n in inputs if n not in shapes], [n for n in shapes if n not in inputs]
    if unknown:
        yield Problem(place, f"there is no input {unknown[0]!r}", nearest_hint(unknown[0], inputs))
    if missing:
        yield Problem(place, f"it leaves out the input {missing[0]!r}", "name every input with its sizes")
    for name in set(shapes) & set(inputs):
        described = inputs[name]
        wanted = list(described.reshape.shape if described.HasField("reshape") else described.dims)
        dims = list(shapes[name].dim)
        if len(dims) != len(wanted) or any(d < 1 or w not in (-1, d) for d, w in zip(dims, wanted, strict=True)):
            yield Problem(place, f"dim {dims} of {name!r} are not sizes for {wanted}", "leave out the batch axis")


def _metrics(config: ModelConfig) -> Iterator[Problem]:
    for number, control in enumerate(config.model_metrics.metric_control):
        buckets = list(control.histogram_options.buckets)
        place = f"model_metrics.metric_control[{number}]"
        if not control.metric_identifier.family:
            yield Problem(place, "it names no metric", "set metric_identifier { family: ... }")
        if not buckets or buckets != sorted(set(buckets)):
            yield Problem(place, f"not ascending upper bounds: {buckets}", "set triton.metrics")
