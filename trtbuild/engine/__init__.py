"""The compile stage: one strongly typed ONNX becomes one plan for one target, in a worker process."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trtbuild import onnxfile, worker
from trtbuild.artifacts import (
    EngineLayers,
    EnginePlan,
    OptimizationProfile,
    Precision,
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
from trtbuild.errors import InvalidOnnxError, MissingDependencyError, PrecisionError, missing_package
from trtbuild.spec import check_capability, check_profiles

_LOWEST_FIRST: tuple[Precision, ...] = ("fp8", "int4", "int8", "int8_weights", "bf16", "fp16")
"""Which precision a typed file is said to have: the one that the fewest targets can do."""

Progress = Callable[[str, float], None]
"""Takes the builder's phase and the share done, 0 to 1."""


def typed_from_file(path: Path, *, tf32: bool = False, profiles: Sequence[OptimizationProfile] = ()) -> TypedOnnx:
    """A ready-made typed ONNX, as ``trtbuild compile`` takes it: what each matrix node computes in is read from it.

    Args:
        path: The file.
        tf32: Whether its FP32 matrix work may run in TF32.
        profiles: The first one's opt sizes weigh the nodes by their work.
    """
    from trtbuild.matrixops import multiply_accumulates, node_precisions

    stored = onnxfile.stored(path)
    model = onnxfile.load(path)
    onnxfile.check(model, str(path))
    assignment = {name: precision for name, precision in node_precisions(model).items() if name}
    lowest: Precision = next((p for p in _LOWEST_FIRST if p in assignment.values()), "fp32")
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
    allow_precision_fallback: bool = False,
    optimization_level: int | None = None,
    workspace_mib: int | None = None,
    timeout_s: float = 3600,
    on_progress: Progress = lambda _phase, _share: None,
) -> EnginePlan:
    """Builds a TensorRT plan and checks that it runs in the precision its graph asks for.

    Args:
        typed: A strongly typed ONNX: what ``assign_precision`` returned, or a file.
        workdir: Folder for ``model.plan`` and ``build.log``.
        target: What to build for.
        profiles: Optimisation profiles by axis name.
        allow_precision_fallback: Accept a plan whose kernels do not all honour the graph's precision.
        optimization_level: 0 to 5; the backend's default when left out.
        workspace_mib: Limit of the workspace, MiB; none when left out.
        timeout_s: Seconds after which the build is stopped.
        on_progress: Called with the builder's phase and the share done.

    Returns:
        The plan, its fused layers, and the share of matrix work by precision.

    Raises:
        MissingDependencyError: The backend's package, or the GPU it needs, is missing.
        SpecError: The target cannot compute some of its nodes, or the profiles do not fit.
        BuildError: TensorRT refuses, crashes (WorkerCrashedError), or falls back (PrecisionError).
    """
    folder = Path(workdir)
    value = typed if isinstance(typed, TypedOnnx) else typed_from_file(Path(typed), profiles=profiles)
    check_capability(target)
    hold_to_hardware(value, target, allow_precision_fallback=allow_precision_fallback)
    check_profiles(value.inputs, profiles, "profiles")
    hold_available(target)
    backend = BACKENDS.load(target.backend)
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
            "workspace_mib": workspace_mib,
            "optimization_level": optimization_level,
        },
        on_event=lambda event: on_progress(event["phase"], event["share"]),
        timeout_s=timeout_s,
    )
    options = {"optimization_level": optimization_level, "workspace_mib": workspace_mib}
    warnings = [said for option, said in backend.IGNORES.items() if options.get(option) is not None]
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
        warnings=(*warnings, *answer["warnings"]),
    )
    if not allow_precision_fallback:
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


__all__ = ["compile", "hold_available", "typed_from_file"]
