"""Compiles one strongly typed ONNX to one plan for one target, in a worker process."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trtbuild import onnxfile
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
from trtbuild.engine.attempt import Attempt, Progress, kernels_alike, part_of, why_not_the_same
from trtbuild.engine.hardware import hold_to_hardware
from trtbuild.engine.layers import from_inspector, from_log, precision_share, weighed
from trtbuild.engine.requirements import hold_available, hold_together
from trtbuild.errors import InvalidOnnxError, PrecisionError
from trtbuild.spec import check_capability, check_profiles
from trtbuild.store import default_root


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
        InvalidOnnxError: TensorRT cannot parse it; all that it refuses is named.
        BuildError: TensorRT refuses, crashes (WorkerCrashedError), or falls back (PrecisionError); ``errors`` has the
            tree.
    """
    folder = Path(workdir)
    value = typed if isinstance(typed, TypedOnnx) else typed_from_file(Path(typed), profiles=profiles)
    check_capability(target)
    hold_to_hardware(value, target, allow_precision_fallback=options.allow_precision_fallback)
    check_profiles(value.inputs, profiles, "profiles")
    hold_available(target)
    hold_together(target, options, profiles)
    plan, log = folder / "model.plan", folder / "build.log"
    attempt = Attempt(
        value,
        {
            "backend": target.backend,
            "onnx": str(value.model.path),
            "target": to_json(target),
            "profiles": _by_input(value.inputs, profiles),
            "tf32": value.precision == "tf32",
            "options": to_json(options),
            "timings": str(default_root() / "timing"),
        },
        target.python,
        options.timeout_s,
        options.memory_limit_mib,
    )
    passes = 2 if options.check_reproducible else 1
    answer = attempt.build(part_of(on_progress, 0, passes), plan=plan, log=log)
    layers, same, differ = _layers(answer, value, profiles), None, []
    if options.check_reproducible:
        same, other = attempt.again(plan, part_of(on_progress, 1, passes))
        alike = kernels_alike(layers.layers, _layers(other, value, profiles).layers)
        differ = [] if same else [why_not_the_same(target.backend, same_kernels=alike)]
    result = EnginePlan(
        plan=StoredFile.of(plan),
        onnx=value.model.digest,
        target=target,
        backend_version=answer["version"],
        precision=value.precision,
        inputs=value.inputs,
        outputs=value.outputs,
        profiles=tuple(profiles),
        layers=layers,
        work=precision_share(layers, value.assignment, value.macs),
        log=StoredFile.of(log),
        warnings=(*answer["warnings"], *differ),
        reproducible=same,
        options={k: v for k, v in options.parameters().items() if k in options.asked()},
        timing_cache=StoredFile.of(Path(answer["timing_cache"])) if answer["timing_cache"] else None,
        plugins=_kept_plugins(options, folder),
    )
    if not options.allow_precision_fallback:
        _hold_to_precision(result)
    return result


def _layers(answer: Any, typed: TypedOnnx, profiles: Sequence[OptimizationProfile]) -> EngineLayers:
    """The engine's kernels, with the work that the compiled model's nodes and shapes say they do."""
    if answer["layers"] is None and answer["inspector"] is None:
        return EngineLayers()
    read = from_log(answer["layers"]) if answer["layers"] is not None else from_inspector(answer["inspector"])
    return weighed(read, onnxfile.load(typed.model.path, weights=False), typed.inputs, profiles)


def _kept_plugins(options: BuildOptions, folder: Path) -> tuple[StoredFile, ...]:
    """Copies of the plug-in libraries beside the plan, for what runs it."""
    places = [folder / f"plugin{number}-{Path(name).name}" for number, name in enumerate(options.plugins)]
    for library, place in zip(options.plugins, places, strict=True):
        shutil.copyfile(library, place)
    return tuple(StoredFile.of(place) for place in places)


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
