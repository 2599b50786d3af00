"""What the optimisation profiles decide: instance groups, warm-up and CUDA graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trtbuild.artifacts import EnginePlan, OptimizationProfile, TensorSpec
from trtbuild.spec.triton import TritonSpec
from trtbuild.triton.messages import ModelConfig, schema


def add_instance_groups(config: ModelConfig, plan: EnginePlan, settings: TritonSpec) -> None:
    """One instance group, or one for each profile."""
    gpu = schema().ModelInstanceGroup.KIND_GPU
    for profiles in profile_sets(plan.profiles, settings.profile_groups):
        group = config.instance_group.add(count=settings.instances, kind=gpu, gpus=settings.gpus, profile=profiles)
        if settings.rate_limiter:
            group.rate_limiter.SetInParent()
            group.rate_limiter.priority = settings.rate_limiter.priority
            for name, resource in settings.rate_limiter.resources.items():
                added = group.rate_limiter.resources.add(name=name, count=resource.count)
                setattr(added, "global", resource.shared)  # a keyword of Python's


def profile_sets(profiles: Sequence[OptimizationProfile], groups: str) -> list[list[str]]:
    """The profile numbers of each instance group; one group without any where the first profile is all there is.

    Triton gives a request to any free instance, and an instance looks among its own profiles only. So a group a
    profile is right only where they take the same sizes: with others a request can meet an instance that must refuse
    it, and a warm-up sample that an instance refuses ends the load.
    """
    if len(profiles) < 2:
        return [[]]
    names = [str(number) for number in range(len(profiles))]
    apart = groups == "each" or (groups == "auto" and same_sizes(profiles))
    return [[name] for name in names] if apart else [names]


def same_sizes(profiles: Sequence[OptimizationProfile]) -> bool:
    """Whether every profile takes what any of them takes; they may be tuned for different sizes."""
    ranges = [{axis: (r.min, r.max) for axis, r in p.axes.items()} for p in profiles]
    return all(r == ranges[0] for r in ranges)


def add_warmup(config: ModelConfig, plan: EnginePlan, axis: str | None, settings: TritonSpec) -> None:
    """A sample for every profile at its smallest and its largest batch, all other axes likewise.

    Zeros, since a random number is no index of a table, and its bits may be NaN. A shape tensor has no value that
    would do for all, so a model with one is not warmed up.
    """
    if not settings.warmup or any(t.name in settings.shape_tensors for t in plan.inputs):
        return
    made = []
    for number, profile in enumerate(plan.profiles or (OptimizationProfile({}),)):
        for which in ("min", "max"):
            batch = getattr(profile.axes[axis], which) if axis else 1
            sizes = {t.name: sample_dims(t, profile, which, batched=bool(axis)) for t in plan.inputs}
            if (batch, sizes) in made:
                continue
            made.append((batch, sizes))
            name = f"profile {number}, {'smallest' if which == 'min' else 'largest'}"
            sample = config.model_warmup.add(name=name, batch_size=batch, count=settings.warmup)
            for described in config.input:
                tensor = sample.inputs[described.name]
                tensor.data_type = described.data_type
                tensor.dims.extend(sizes[described.name])
                tensor.zero_data = True


def sample_dims(tensor: TensorSpec, profile: OptimizationProfile, which: Any, *, batched: bool) -> list[int]:
    """Sizes of one request's tensor, as a client sends it: without the batch axis where the model batches.

    One value a row is sent as one number: Triton has no empty dims.
    """
    return list(profile.shape(tensor, which))[1 if batched else 0 :] or [1]


def add_cuda_graphs(config: ModelConfig, plan: EnginePlan, axis: str | None) -> None:
    """Graphs of every profile at its opt sizes: at batch 1, the preferred sizes that it takes, and its largest."""
    config.optimization.cuda.graphs = True
    made = []
    for profile in plan.profiles or (OptimizationProfile({}),):
        batches = [0]
        if axis:
            taken = profile.axes[axis]
            asked = {1, taken.opt, taken.max, *config.dynamic_batching.preferred_batch_size}
            batches = sorted(b for b in asked if taken.min <= b <= taken.max)
        for batch in batches:
            sizes = {t.name: list(profile.shape(t, "opt"))[1 if axis else 0 :] for t in plan.inputs}
            if (batch, sizes) in made:
                continue
            made.append((batch, sizes))
            spec = config.optimization.cuda.graph_spec.add(batch_size=batch)
            for name, dims in sizes.items():
                spec.input[name].SetInParent()
                spec.input[name].dim.extend(dims)
