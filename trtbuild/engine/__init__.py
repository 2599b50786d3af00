"""The compile stage: one strongly typed ONNX becomes one plan for one target, in a worker process."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trtbuild import onnxfile, worker
from trtbuild.artifacts import (
    BuildOptions,
    EngineLayers,
    EnginePlan,
    OptimizationProfile,
    StoredFile,
    Target,
    TensorSpec,
    TypedOnnx,
    to_json,
)
from trtbuild.backends import BACKENDS
from trtbuild.device import compute_capabilities
from trtbuild.engine.hardware import hold_to_hardware
from trtbuild.engine.layers import from_inspector, from_log, precision_share
from trtbuild.errors import InvalidOnnxError, MissingDependencyError, PrecisionError, SpecError, missing_package
from trtbuild.spec import check_capability, check_profiles
from trtbuild.store import default_root

Progress = Callable[[str, float], None]
"""Takes the builder's phase and the share done, 0 to 1."""


def typed_from_file(path: Path, *, tf32: bool = False, profiles: Sequence[OptimizationProfile] = ()) -> TypedOnnx:
    """A ready-made typed ONNX, as ``trtbuild compile`` takes it: what each matrix node computes in is read from it.

    Args:
        path: The file.
        tf32: Whether its FP32 matrix work may run in TF32.
        profiles: The first one's opt sizes weigh the nodes by their work.
    """
    from trtbuild.matrixops import lowest_precision, multiply_accumulates, node_precisions

    stored = onnxfile.stored(path)
    model = onnxfile.load(path)
    onnxfile.check(model, str(path))
    assignment = {name: precision for name, precision in node_precisions(model).items() if name}
    lowest = lowest_precision(assignment.values())
    return TypedOnnx(
        model=stored,
        inputs=onnxfile.inputs(model),
        outputs=onnxfile.outputs(model),
        precision="tf32" if tf32 and lowest == "fp32" else lowest,
        assignment=assignment,
        macs=multiply_accumulates(model, {a: r.opt for a, r in profiles[0].axes.items()} if profiles else {}),
        kept={},
    )


def compile(  # noqa: A001
    typed: TypedOnnx | Path | str,
    workdir: Path | str,
    *,
    target: Target,
    profiles: Sequence[OptimizationProfile] = (),
    options: BuildOptions = BuildOptions(),  # noqa: B008  frozen
    on_progress: Progress = lambda _phase, _share: None,
) -> EnginePlan:
    """Builds a TensorRT plan and checks that it runs in the precision its graph asks for.

    Args:
        typed: A strongly typed ONNX: what ``assign_precision`` returned, or a file.
        workdir: Folder for ``model.plan``, ``build.log`` and, where kernels are timed, ``model.timing``.
        target: What to build for.
        profiles: Optimisation profiles by axis name.
        options: Options of the build.
        on_progress: Called with the builder's phase and the share done.

    Returns:
        The plan, its fused layers, and the share of matrix work by precision.

    Raises:
        MissingDependencyError: The backend's package, or the GPU it needs, is missing.
        SpecError: The target cannot compute some of its nodes, the profiles do not fit, or the backend cannot do an
            option.
        BuildError: TensorRT refuses, crashes (WorkerCrashedError), or falls back (PrecisionError).
    """
    folder = Path(workdir)
    value = typed if isinstance(typed, TypedOnnx) else typed_from_file(Path(typed), profiles=profiles)
    check_capability(target)
    hold_to_hardware(value, target, allow_precision_fallback=options.allow_precision_fallback)
    check_profiles(value.inputs, profiles, "profiles")
    hold_available(target)
    hold_together(target, options)
    plan, log = folder / "model.plan", folder / "build.log"
    answer = worker.call(
        "trtbuild.engine.building:build_plan",
        {
            "backend": target.backend,
            "onnx": str(value.model.path),
            "plan": str(plan),
            "log": str(log),
            "target": to_json(target),
            "profiles": _by_input(value.inputs, profiles),
            "tf32": value.precision == "tf32",
            "options": to_json(options),
            "timings": str(default_root() / "timing"),
        },
        on_event=lambda event: on_progress(event["phase"], event["share"]),
        timeout_s=options.timeout_s,
        memory_limit_mib=options.memory_limit_mib,
    )
    result = EnginePlan(
        plan=StoredFile.of(plan),
        onnx=value.model.digest,
        target=target,
        backend_version=answer["version"],
        precision=value.precision,
        inputs=value.inputs,
        outputs=value.outputs,
        profiles=tuple(profiles),
        layers=(layers := _layers(answer)),
        work=precision_share(layers, value.assignment, value.macs),
        log=StoredFile.of(log),
        warnings=tuple(answer["warnings"]),
        options={k: v for k, v in options.parameters().items() if k in options.asked()},
        timing_cache=StoredFile.of(Path(answer["timing_cache"])) if answer["timing_cache"] else None,
    )
    if not options.allow_precision_fallback:
        _hold_to_precision(result)
    return result


def hold_available(target: Target) -> None:
    """Checks that this machine can build for a target.

    Raises:
        MissingDependencyError: The backend's package, or the GPU it needs, is missing.
    """
    backend = BACKENDS.load(target.backend)
    if backend.NEEDS_GPU_TO_BUILD and not compute_capabilities():
        raise MissingDependencyError(
            f"the backend {target.backend} builds on the GPU it builds for, and this machine shows none",
            place=f"target {target.name}",
            hint="run this on the target machine with trtbuild[gpu]" + _built_elsewhere(target),
        )
    if importlib.util.find_spec(backend.PACKAGE) is None:
        raise missing_package(backend.PACKAGE, backend.EXTRA, needed_for=f"the backend {target.backend}")


def hold_together(target: Target, options: BuildOptions) -> None:
    """Checks what can be known of options without TensorRT: whether they fit each other and the target.

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
    backend = BACKENDS.load(target.backend)
    if options.refit != "none" and not backend.REFITS_WITHOUT_GPU and not compute_capabilities():
        raise MissingDependencyError(
            f"{target.backend} builds plans that can be refitted on a GPU only, and this machine shows none",
            place="build.refit",
            hint="run this on a machine with a GPU, or leave it out",
        )


def hold_options(target: Target, options: BuildOptions) -> tuple[str, ...]:
    """Checks that a target's backend can do what is asked, by setting it in a worker process and building nothing.

    Returns:
        What it would ignore, in words.

    Raises:
        SpecError: This TensorRT has not what an option takes.
        BuildError: An option did not take.
    """
    hold_together(target, options)
    if not set(options.asked()) - {"allow_precision_fallback", "timeout_s", "memory_limit_mib", "timing_cache"}:
        return ()  # nothing that TensorRT is told
    request = {"backend": target.backend, "target": to_json(target), "options": to_json(options)}
    return tuple(worker.call("trtbuild.engine.building:try_options", request, timeout_s=120))


def _built_elsewhere(target: Target) -> str:
    """Which backends build for the target's capability without a GPU, for a hint."""
    able = [b for b in BACKENDS.summaries() if target.compute_capability in (BACKENDS.load(b).CAPABILITIES or ())]
    return f", or take backend {' or '.join(able)}" if able else ""


def _layers(answer: Any) -> EngineLayers:
    if answer["layers"] is not None:
        return from_log(answer["layers"])
    return from_inspector(answer["inspector"]) if answer["inspector"] is not None else EngineLayers()


def _by_input(inputs: Sequence[TensorSpec], profiles: Sequence[OptimizationProfile]) -> list[dict[str, Any]]:
    """Shapes of each dynamic input at min, opt and max, one mapping a profile."""
    if any(not isinstance(d, (int, str)) for t in inputs for d in t.shape):
        raise InvalidOnnxError("an input has an axis without size or name", place="compile")
    return [
        {t.name: [p.shape(t, "min"), p.shape(t, "opt"), p.shape(t, "max")] for t in inputs if _dynamic(t)}
        for p in profiles
    ]


def _dynamic(tensor: TensorSpec) -> bool:
    return any(isinstance(d, str) for d in tensor.shape)


def _hold_to_precision(plan: EnginePlan) -> None:
    missed = plan.work.not_honoured
    if not missed:
        return
    if not plan.layers:
        raise PrecisionError(
            "the backend gave no list of the engine's layers, so nothing shows which precision they run in",
            place=f"target {plan.target.name}",
            hint="accept that with build.allow_precision_fallback: true",
        )
    shown = [f"{node}: asked {asked}, got {got}" for node, (asked, got) in list(missed.items())[:5]]
    more = f"\n    and {len(missed) - 5} more" if len(missed) > 5 else ""
    raise PrecisionError(
        f"{len(missed)} of {len(plan.work.nodes)} matrix nodes do not run in the precision asked for:\n    "
        + "\n    ".join(shown)
        + more,
        place=f"target {plan.target.name}",
        hint="accept the plan as it is with build.allow_precision_fallback: true",
    )


__all__ = ["compile", "hold_available", "hold_options", "typed_from_file"]
