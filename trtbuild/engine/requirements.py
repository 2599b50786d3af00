"""What a build requires, held before it: the package, the device, and options that the backend can do."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from trtbuild import worker
from trtbuild.artifacts import BuildOptions, OptimizationProfile, Target, to_json
from trtbuild.backends import BACKENDS
from trtbuild.device import compute_capabilities
from trtbuild.errors import MissingDependencyError, SpecError, missing_package
from trtbuild.interpreters import hold_package

_OURS = {"allow_precision_fallback", "timeout_s", "memory_limit_mib", "check_reproducible", "timing_cache"}
"""Options that TensorRT is not told before a build."""


def hold_available(target: Target) -> None:
    """Checks that this machine can build for a target.

    Raises:
        MissingDependencyError: The backend's package, or the GPU it needs, is missing.
        UsageError: The target names an interpreter that is not there.
    """
    backend = BACKENDS.load(target.backend)
    if target.python:
        hold_package(target.python, backend.PACKAGE, backend.DISTRIBUTIONS[0])
    if backend.NEEDS_GPU_TO_BUILD and not compute_capabilities():
        raise MissingDependencyError(
            f"the backend {target.backend} builds on the GPU it builds for, and this machine shows none",
            place=f"target {target.name}",
            hint="run this on the target machine with trtbuild[gpu]" + _built_elsewhere(target),
        )
    if not target.python and importlib.util.find_spec(backend.PACKAGE) is None:
        raise missing_package(backend.PACKAGE, backend.EXTRA, needed_for=f"the backend {target.backend}")


def _built_elsewhere(target: Target) -> str:
    """Which backends build for the target's capability without a GPU, for a hint."""
    able = [b for b in BACKENDS.summaries() if target.compute_capability in (BACKENDS.load(b).CAPABILITIES or ())]
    return f", or take backend {' or '.join(able)}" if able else ""


def hold_together(target: Target, options: BuildOptions, profiles: Sequence[OptimizationProfile] = ()) -> None:
    """Checks what can be known of options without TensorRT: whether they fit each other, the target and the profiles.

    Raises:
        SpecError: Two options contradict each other, or a file is not there.
        MissingDependencyError: The backend needs a GPU for what is asked.
    """
    said = options.contradiction()
    if said is not None:
        message, _, hint = said.partition("; ")
        raise SpecError(message, place="build", hint=hint)
    files = {
        "timing_cache": [options.pinned_cache] if options.pinned_cache else [],
        "plugins": map(Path, options.plugins),
    }
    for name, file in ((name, file) for name, named in files.items() for file in named):
        if not file.is_file():
            raise SpecError(f"there is no file {file}", place=f"build.{name}", hint="paths start at the spec's folder")
    if options.hardware_compatibility == "ampere_plus" and target.sm < 80:
        raise SpecError(
            f"compute capability {target.compute_capability} is older than Ampere",
            place="build.hardware_compatibility",
            hint="leave it out, or write same_compute_capability",
        )
    ranges = [f"{axis} {r.min}..{r.max}" for p in profiles for axis, r in p.axes.items() if r.min != r.max]
    if options.dla_core is not None and ranges:
        raise SpecError(
            f"a deep learning accelerator takes one size of each axis, and the profiles range: {', '.join(ranges)}",
            place="build.dla_core",
            hint="write min, opt and max alike, or build for the GPU",
        )
    backend = BACKENDS.load(target.backend)
    if options.refit != "none" and not backend.REFITS_WITHOUT_GPU and not compute_capabilities():
        raise MissingDependencyError(
            f"{target.backend} builds plans that can be refitted on a GPU only, and this machine shows none",
            place="build.refit",
            hint="run this on a machine with a GPU, or leave it out",
        )


def hold_options(
    target: Target, options: BuildOptions, profiles: Sequence[OptimizationProfile] = ()
) -> tuple[str, ...]:
    """Checks that a target's backend can do what is asked, by setting it in a worker process and building nothing.

    Returns:
        What it would ignore, in words.

    Raises:
        SpecError: This TensorRT has not what an option takes.
        BuildError: An option did not take.
    """
    hold_together(target, options, profiles)
    if not options.asked().keys() - _OURS:
        return ()
    request = {"backend": target.backend, "target": to_json(target), "options": to_json(options)}
    return tuple(worker.call("trtbuild.engine.building:try_options", request, timeout_s=120, python=target.python))
