"""The stages on engines: what each one's key is made of, and its call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trtbuild import benchmark, engine, reporting, triton, verification
from trtbuild.artifacts import (
    Benchmark,
    CalibrationTable,
    EnginePlan,
    ExportedOnnx,
    OptimizationProfile,
    RewrittenOnnx,
    SpeedGate,
    StoredFile,
    Target,
    TritonModel,
    TypedOnnx,
    Verification,
    to_json,
)
from trtbuild.backends import BACKENDS, packages
from trtbuild.content import file_digest, json_digest
from trtbuild.device import gpus
from trtbuild.enginerun import can_run
from trtbuild.feeds import Samples
from trtbuild.interpreters import interpreter
from trtbuild.recipes.keys import as_json
from trtbuild.recipes.precision import assign_precision
from trtbuild.roofline import plan_estimate
from trtbuild.spec import Spec
from trtbuild.steps import Steps
from trtbuild.store import Recipe, code_digest, toolchain

GOLDEN = "golden"
"""Folder of the golden requests that verify keeps."""


def compile(  # noqa: A001  the stage's name
    steps: Steps,
    spec: Spec,
    typed: TypedOnnx,
    target: Target,
    profiles: tuple[OptimizationProfile, ...],
    *,
    name: str = "",
) -> EnginePlan:
    """Builds the plan of one target; ``name`` is what the step is called."""
    name = name or f"compile {target.name}"
    options = spec.build.options(spec.folder)
    same_plan = replace(target, name="", gpu="", python="")  # two names of one capability share their plan

    plan = steps.take(
        name,
        EnginePlan,
        lambda: Recipe(
            "compile",
            code_digest(engine.__name__),
            {"model": typed.model.digest},
            {
                "target": to_json(same_plan),
                "precision": typed.precision,
                "profiles": as_json(profiles),
                "assignment": dict(typed.assignment),
                **options.parameters(),
            },
            _builder(target),
        ),
        lambda folder: engine.compile(
            typed,
            folder,
            target=target,
            profiles=profiles,
            options=options,
            on_progress=lambda phase, share: steps.observer.progress(name, share, phase),
        ),
        reporting.said.compile,
    )
    rates = next((fields.rates() for fields in spec.targets if fields.target() == target), None)
    known = rates is not None and rates.peak and rates.bandwidth  # made-up figures are for ranking, not for a report
    return replace(plan, target=target, estimate=plan_estimate(plan, rates) if rates and known else None)


def verify(
    steps: Steps,
    spec: Spec,
    exported: ExportedOnnx,
    rewritten: RewrittenOnnx,
    typed: TypedOnnx,
    plans: Sequence[EnginePlan],
    table: CalibrationTable | None,
    profiles: tuple[OptimizationProfile, ...],
) -> tuple[Verification, ...]:
    """One proof a plan that this machine can run; one of the typed ONNX for all the others."""
    runnable = [plan for plan in plans if can_run(plan)]
    subjects: list[TypedOnnx | EnginePlan] = [*runnable, *([typed] if len(runnable) < len(plans) else [])]
    samples, rule, note = _held_out(spec, exported, profiles)
    reference = rewritten.reference or exported.model
    golden_requests = spec.accuracy.golden if spec.accuracy else 0  # random inputs are no requests
    proofs = []
    for subject in subjects:
        is_plan = isinstance(subject, EnginePlan)
        name = f"verify {subject.target.name}" if isinstance(subject, EnginePlan) else "verify"

        def recipe(subject: Any = subject, is_plan: bool = is_plan) -> Recipe:
            return Recipe(
                "verify",
                code_digest(verification.__name__),
                {
                    "reference": reference.digest,
                    "subject": subject.plan.digest if is_plan else subject.model.digest,
                    "data": samples.digest(),
                    "metric": rule.digest(spec.folder),
                },
                {
                    "rule": rule.parameters(),
                    "profiles": as_json(profiles),
                    "calibrated_on": list(table.row_digests) if table else [],
                    "golden": golden_requests,
                },
                toolchain(*verification.PACKAGES) | (_device(subject) if is_plan else {}),
            )

        def make(folder: Path, subject: Any = subject, name: str = name) -> Verification:
            return verification.verify(
                reference,
                subject,
                samples,
                rule=rule,
                profiles=profiles,
                calibrated_on=table.row_digests if table else (),
                folder=spec.folder,
                golden_folder=folder / GOLDEN,
                golden_requests=golden_requests,
                on_sample=steps.rows(name, samples.limit),
            )

        proofs.append(steps.take(name, Verification, recipe, make, reporting.said.verify))
    if note:
        steps.observer.note(note)
    return tuple(proofs)


def _held_out(
    spec: Spec, exported: ExportedOnnx, profiles: tuple[OptimizationProfile, ...]
) -> tuple[Samples, verification.Rule, str | None]:
    """The samples to verify on and the rule; random ones, and a note, when the spec names none."""
    asked = spec.accuracy
    if asked is None:
        samples = Samples("random", exported.inputs, spec.folder, 64, {}, profiles, spec.ranges(), seed=1)
        note = "verified on random inputs: the spec has no accuracy block with held-out data"
        return samples, verification.Rule.default(spec.precision), note
    samples = Samples(
        asked.data, exported.inputs, spec.folder, asked.samples, asked.args, profiles, spec.ranges(), seed=1
    )
    return samples, verification.Rule.asked(asked), None


def fp16_siblings(
    steps: Steps,
    spec: Spec,
    model: StoredFile,
    table: CalibrationTable | None,
    plans: Sequence[EnginePlan],
    profiles: tuple[OptimizationProfile, ...],
) -> tuple[EnginePlan, ...]:
    """The same model in FP16 for every plan that the speed gate is for and this machine can run."""
    runnable = [plan for plan in plans if can_run(plan)]
    if spec.precision not in benchmark.GATED or not runnable:
        return ()
    half = spec.model_copy(update={"precision": "fp16", "precision_overrides": {}})
    typed = assign_precision(steps, half, model, table, None, None, profiles, name="assign precision fp16")
    return tuple(
        compile(steps, half, typed, plan.target, profiles, name=f"compile {plan.target.name} fp16") for plan in runnable
    )


def speed_gate(
    spec: Spec, plans: Sequence[EnginePlan], siblings: Sequence[EnginePlan], measured: Benchmark | None
) -> SpeedGate | None:
    """Holds every plan that could be measured against its sibling; None for a precision that promises no speed."""
    if spec.precision not in benchmark.GATED:
        return None
    runnable = [plan for plan in plans if can_run(plan)]
    names = benchmark.plan_names([*runnable, *siblings])
    pairs = zip(runnable, names, names[len(runnable) :], strict=False)
    return benchmark.judge_speed(
        measured,
        {plan.target.name: (own, sibling) for plan, own, sibling in pairs},
        margin=spec.speed.margin,
        allowed=spec.speed.allow_slower,
        not_run=[plan.target.name for plan in plans if plan not in runnable],
    )


def bench(
    steps: Steps,
    spec: Spec,
    exported: ExportedOnnx,
    plans: Sequence[EnginePlan],
    siblings: Sequence[EnginePlan],
    profiles: tuple[OptimizationProfile, ...],
) -> Benchmark | None:
    """Times the plans this machine can run, and their siblings, beside the FP32 ONNX; nothing where it can run none."""
    runnable = [*(plan for plan in plans if can_run(plan)), *siblings]
    if not runnable:
        return None
    return steps.take(
        "bench",
        Benchmark,
        lambda: Recipe(
            "bench",
            code_digest(benchmark.__name__),
            {"reference": exported.model.digest}
            | {name: p.plan.digest for name, p in zip(benchmark.plan_names(runnable), runnable, strict=True)},
            {"profiles": as_json(profiles), "ranges": spec.ranges()},
            toolchain(*benchmark.PACKAGES, "pycuda", "cuda-bindings")
            | {k: v for p in runnable for k, v in _device(p).items()},
        ),
        lambda _folder: benchmark.bench(
            {"fp32 onnx": exported.model.path},
            runnable,
            profiles=profiles,
            ranges=spec.ranges(),
            on_progress=lambda share, what: steps.observer.progress("bench", share, what),
        ),
        reporting.said.bench,
    )


def package(
    steps: Steps, spec: Spec, plans: Sequence[EnginePlan], proofs: Sequence[Verification]
) -> tuple[TritonModel, ...]:
    """One Triton folder a TensorRT; its plans share the folder by compute capability."""
    fleets: dict[tuple[str, str], list[EnginePlan]] = {}
    for plan in plans:
        fleets.setdefault((plan.target.backend, plan.backend_version), []).append(plan)
    names = _folder_names(spec.model.name, list(fleets))
    made = []
    for builder, fleet in fleets.items():
        name = names[builder]

        def recipe(fleet: list[EnginePlan] = fleet, name: str = name) -> Recipe:
            return Recipe(
                "package",
                code_digest(triton.__name__),
                {p.target.compute_capability: p.plan.digest for p in fleet}
                | {f"io {p.target.compute_capability}": _interface_digest(p) for p in fleet}
                | _triton_files(spec),
                {"name": name, **spec.triton.model_dump(mode="json")},
                toolchain(*triton.PACKAGES),
            )

        def make(folder: Path, fleet: list[EnginePlan] = fleet, name: str = name) -> TritonModel:
            return triton.package(fleet, proofs, folder, name=name, folder=spec.folder, settings=spec.triton)

        made.append(steps.take("package", TritonModel, recipe, make, reporting.said.package))
    return tuple(made)


def _triton_files(spec: Spec) -> dict[str, str]:
    """Digests of the files that the spec's triton block names; a missing one is the stage's to refuse."""
    named = {f"labels {output}": file for output, file in spec.triton.labels.items()}
    named |= {
        kind: step.file
        for kind, step in (("preprocess", spec.triton.preprocess), ("postprocess", spec.triton.postprocess))
        if step
    }
    return {role: file_digest(spec.folder / file) for role, file in named.items() if (spec.folder / file).is_file()}


def _folder_names(model: str, builders: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A Triton folder's name for each backend and version: no longer than it takes to tell them apart."""
    if len(builders) == 1:
        return {builders[0]: model}
    names = {}
    for backend, version in builders:
        others = [v for b, v in builders if b == backend and v != version]
        major = version.partition(".")[0]
        same_major = any(v.partition(".")[0] == major for v in others)
        names[backend, version] = f"{model}_{backend}" + (version if same_major else major if others else "")
    return names


def _device(plan: EnginePlan) -> dict[str, str]:
    """What running a plan depends on beside the plan: the GPUs, their driver, and the TensorRT that loads it."""
    return _gpus() | _toolchain_of(plan.target)


def _gpus() -> dict[str, str]:
    return {f"gpu {number}": f"{g.name}, driver {g.driver}" for number, g in enumerate(gpus())}


def _builder(target: Target) -> dict[str, str]:
    """What a plan depends on beside its parameters: the TensorRT, and the GPUs where it times kernels on them."""
    return _toolchain_of(target) | (_gpus() if BACKENDS.load(target.backend).NEEDS_GPU_TO_BUILD else {})


def _toolchain_of(target: Target) -> dict[str, str]:
    """Versions of what builds for a target and loads its plans: where it names a Python, those that are there."""
    if not target.python:
        return toolchain(*packages(target.backend))
    backend = BACKENDS.load(target.backend)
    other = interpreter(target.python, backend.PACKAGE)
    found = {"interpreter": ".".join(map(str, other.version)), **other.versions(backend.DISTRIBUTIONS, backend.PACKAGE)}
    return toolchain() | found


def _interface_digest(plan: EnginePlan) -> str:
    interface = [as_json(plan.inputs), as_json(plan.outputs), as_json(plan.profiles), dict(plan.options)]
    return json_digest([*interface, plan.onnx, plan.precision])
