"""The whole way, top to bottom: spec in, a proved plan in a Triton folder out.

Each stage is one function of another package, called through the store: what is known is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from trtbuild import benchmark, calibration, engine, exporters, precision, reporting, rewriter, triton, verification
from trtbuild.artifacts import (
    CALIBRATED,
    Benchmark,
    Build,
    CalibrationTable,
    EnginePlan,
    ExportedOnnx,
    OptimizationProfile,
    RewrittenOnnx,
    Target,
    TritonModel,
    TypedOnnx,
    Verification,
    to_json,
)
from trtbuild.backends import packages
from trtbuild.console import Observer
from trtbuild.content import file_digest, json_digest
from trtbuild.device import gpus
from trtbuild.enginerun import can_run
from trtbuild.errors import AccuracyError, InvalidOnnxError
from trtbuild.feeds import Samples
from trtbuild.preflight import preflight
from trtbuild.spec import Spec, check_profiles
from trtbuild.steps import Steps
from trtbuild.store import Recipe, Store, code_digest, publish, toolchain

T = TypeVar("T")

NOT_PASSED = "not-passed"
"""Where a build that a gate stopped leaves its report, inside the output folder: the last good build stays whole."""


@dataclass(frozen=True)
class BuildResult:
    """What ``build`` returns.

    Attributes:
        build: Everything it came to.
        folder: Where report, manifest and the Triton model repository lie.
        report: The Markdown report.
        manifest: SHA-256 of every input and output.
    """

    build: Build
    folder: Path
    report: Path
    manifest: Path


def build(
    spec: Spec, *, store: Store | None = None, observer: Observer | None = None, output: Path | None = None
) -> BuildResult:
    """Takes a spec the whole way.

    Args:
        spec: What ``load_spec`` read.
        store: Where results are kept; the user's cache folder when left out.
        observer: Told what happens; nobody when left out.
        output: Folder for the results; the spec's ``output`` when left out.

    Returns:
        The artifacts, and where the report lies.

    Raises:
        AccuracyError: A gate did not pass; the report is in ``not-passed/``, the plans are not packaged, and what an
            earlier build left in the folder is untouched.
        TrtbuildError: Any stage's own.
    """
    observer = observer or Observer()
    steps = Steps(store or Store(on_wait=lambda s: observer.note(f"{s}: another run is at it; waiting")), observer)
    folder = output or spec.folder / spec.output
    targets = tuple(fields.target() for fields in spec.targets)
    profiles = spec.optimization_profiles()
    preflight(spec, targets, folder)

    exported = _export(steps, spec, profiles)
    check_profiles(exported.inputs, profiles, "profiles")
    rewritten = _rewrite(steps, spec, exported, targets, profiles)
    _hold_buildable(rewritten)
    table = _calibrate(steps, spec, rewritten, profiles) if spec.precision in CALIBRATED else None
    typed = _assign_precision(steps, spec, rewritten, table, profiles)
    plans = tuple(_compile(steps, spec, typed, target, profiles) for target in targets)
    verifications = _verify(steps, spec, exported, rewritten, typed, plans, table, profiles)
    measured = _bench(steps, spec, exported, plans, profiles)
    passed = all(v.passed for v in verifications)
    packaged = _package(steps, spec, plans, verifications) if passed else ()

    done = Build(
        name=spec.model.name,
        source=spec.model.source,
        inputs=reporting.inputs_read(spec, steps.records),
        precision=spec.precision,
        calibration_reader=spec.calibration.reader if spec.calibration and table else None,
        exported=exported,
        rewritten=rewritten,
        table=table,
        typed=typed,
        plans=plans,
        verifications=verifications,
        benchmark=measured,
        packaged=packaged,
        stages=tuple(steps.records),
        versions=toolchain(*_all_packages(targets)),
        warnings=reporting.warnings_of(table, verifications, plans, packaged),
    )
    place = folder if passed else folder / NOT_PASSED
    files = reporting.files_of(done)
    outdated = reporting.files_of_manifest(place / reporting.MANIFEST)
    publish(files, place, last=reporting.MANIFEST, outdated=outdated)
    result = BuildResult(done, place, place / reporting.REPORT, place / reporting.MANIFEST)
    if not passed:
        failed = [g for v in verifications for g in v.gates if not g.passed]
        raise AccuracyError(
            "the accuracy gate did not pass: " + "; ".join(f"{g.rule}, measured {g.value:.6g}" for g in failed),
            place=str(result.report),
            hint="another calibration.method or more samples, a higher precision, or a rule that fits the task",
        )
    return result


# ------------------------------------------------------------------------------------------------------- stages


def _export(steps: Steps, spec: Spec, profiles: tuple[OptimizationProfile, ...]) -> ExportedOnnx:
    model = spec.model
    loaded: list[Any] = []  # the module, once it had to be loaded for its fingerprint

    def recipe() -> Recipe:
        steps.observer.progress("export", None, "reading the model")
        known = exporters.fingerprint.of_files(model.source, spec.folder, model.depends_on, model.weights)
        if known is None:
            loaded.append(exporters.load_module(model.source, spec.folder, model.weights))
            known = exporters.fingerprint.of_module(loaded[0])
        return Recipe(
            "export",
            code_digest(exporters.__name__),
            {"model": known},
            {
                "inputs": _json(spec.input_tensors()),
                "outputs": model.outputs,
                "exporter": model.exporter,
                "opset": model.opset,
                "profiles": _json(profiles),
                "ranges": spec.ranges(),
            },
            toolchain(*exporters.PACKAGES),
        )

    def make(folder: Path) -> ExportedOnnx:
        steps.observer.progress("export", None, "exporting and comparing with torch")
        return exporters.export(
            loaded[0] if loaded else model.source,
            folder,
            inputs=spec.input_tensors(),
            outputs=model.outputs,
            exporter=model.exporter,
            opset=model.opset,
            profiles=profiles,
            ranges=spec.ranges(),
            folder=spec.folder,
            weights=None if loaded else model.weights,
            on_note=steps.observer.note,
        )

    return steps.take("export", ExportedOnnx, recipe, make, reporting.said.export)


def _rewrite(
    steps: Steps,
    spec: Spec,
    exported: ExportedOnnx,
    targets: tuple[Target, ...],
    profiles: tuple[OptimizationProfile, ...],
) -> RewrittenOnnx:
    asked = spec.rewrite
    files = [spec.folder / file for file in asked.rules]
    backends = {t.backend for t in targets}
    backend = backends.pop() if len(backends) == 1 else None  # one graph for all targets: only what all of them take
    return steps.take(
        "rewrite",
        RewrittenOnnx,
        lambda: Recipe(
            "rewrite",
            code_digest(rewriter.__name__),
            {"model": exported.model.digest},
            {
                "skip": sorted(asked.skip),
                "prove": asked.prove,
                "backend": backend,
                "rules": [file_digest(file) for file in files],
                "profiles": _json(profiles),
            },
            toolchain(*rewriter.PACKAGES),
        ),
        lambda folder: rewriter.rewrite(
            exported.model,
            folder,
            skip=asked.skip,
            rules=files,
            backend=backend,
            profiles=profiles,
            prove=asked.prove,
        ),
        reporting.said.rewrite,
    )


def _hold_buildable(rewritten: RewrittenOnnx) -> None:
    """Everything that TensorRT will not build is told at once, before calibration spends its time."""
    if rewritten.unbuildable:
        raise InvalidOnnxError(
            "TensorRT cannot build it:\n    " + "\n    ".join(rewritten.unbuildable),
            place=str(rewritten.model.path),
            hint="change the modules named, or write a rule that replaces the nodes: docs/rewriting.md",
        )


def _calibrate(
    steps: Steps, spec: Spec, rewritten: RewrittenOnnx, profiles: tuple[OptimizationProfile, ...]
) -> CalibrationTable:
    asked = spec.calibration
    if asked is None:  # the spec's own check has refused this already
        raise ValueError("int8 without calibration")
    samples = Samples(
        asked.reader, rewritten.inputs, spec.folder, asked.samples, asked.args, profiles, spec.ranges(), seed=0
    )

    def recipe() -> Recipe:
        steps.observer.progress("calibrate", None, "reading samples")
        return Recipe(
            "calibrate",
            code_digest(calibration.__name__),
            {"model": rewritten.model.digest, "data": samples.digest()},
            {"method": asked.method, "synthetic": samples.synthetic},
            toolchain(*calibration.PACKAGES),
        )

    table = steps.take(
        "calibrate",
        CalibrationTable,
        recipe,
        lambda _folder: calibration.calibrate(
            rewritten.model,
            samples,
            method=asked.method,
            budget_mb=asked.budget_mb,
            on_sample=steps.rows("calibrate", asked.samples),
        ),
        reporting.said.calibrate,
    )
    if table.synthetic:
        steps.observer.note("calibrated on random data: the INT8 ranges mean nothing for real inputs")
    return table


def _assign_precision(
    steps: Steps,
    spec: Spec,
    rewritten: RewrittenOnnx,
    table: CalibrationTable | None,
    profiles: tuple[OptimizationProfile, ...],
) -> TypedOnnx:
    fallback = spec.build.allow_precision_fallback

    def recipe() -> Recipe:
        inputs = {"model": rewritten.model.digest}
        if table is not None:
            inputs["table"] = json_digest(to_json(table))
        return Recipe(
            "assign precision",
            code_digest(precision.__name__),
            inputs,
            {"precision": spec.precision, "profiles": _json(profiles), "fallback": fallback},
            toolchain(*precision.PACKAGES),
        )

    return steps.take(
        "assign precision",
        TypedOnnx,
        recipe,
        lambda folder: precision.assign_precision(
            rewritten, folder, precision=spec.precision, table=table, profiles=profiles, allow_fallback=fallback
        ),
        reporting.said.assign_precision,
    )


def _compile(
    steps: Steps, spec: Spec, typed: TypedOnnx, target: Target, profiles: tuple[OptimizationProfile, ...]
) -> EnginePlan:
    name = f"compile {target.name}"
    options = spec.build.model_dump()
    same_plan = replace(target, name="", gpu="")  # two names of one capability share their plan

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
                "profiles": _json(profiles),
                "assignment": dict(typed.assignment),
                **{k: v for k, v in options.items() if k != "timeout_s"},
            },
            toolchain(*packages(target.backend)),
        ),
        lambda folder: engine.compile(
            typed,
            folder,
            target=target,
            profiles=profiles,
            on_progress=lambda phase, share: steps.observer.progress(name, share, phase),
            **options,
        ),
        reporting.said.compile,
    )
    return replace(plan, target=target)


def _verify(
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
                    "rule": [rule.metric, rule.min, rule.max_drop, rule.source],
                    "profiles": _json(profiles),
                    "calibrated_on": list(table.row_digests) if table else [],
                },
                toolchain(*verification.PACKAGES) | (_device(subject) if is_plan else {}),
            )

        def make(_folder: Path, subject: Any = subject, name: str = name) -> Verification:
            return verification.verify(
                reference,
                subject,
                samples,
                rule=rule,
                profiles=profiles,
                calibrated_on=table.row_digests if table else (),
                folder=spec.folder,
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
    return samples, verification.Rule(asked.metric, asked.min, asked.max_drop), None


def _bench(
    steps: Steps,
    spec: Spec,
    exported: ExportedOnnx,
    plans: Sequence[EnginePlan],
    profiles: tuple[OptimizationProfile, ...],
) -> Benchmark | None:
    """Times the plans this machine can run beside the FP32 ONNX; nothing where it can run none."""
    runnable = [plan for plan in plans if can_run(plan)]
    if not runnable:
        return None
    return steps.take(
        "bench",
        Benchmark,
        lambda: Recipe(
            "bench",
            code_digest(benchmark.__name__),
            {"reference": exported.model.digest, **{p.target.name: p.plan.digest for p in runnable}},
            {"profiles": _json(profiles), "ranges": spec.ranges()},
            toolchain(*benchmark.PACKAGES, "pycuda") | {k: v for p in runnable for k, v in _device(p).items()},
        ),
        lambda _folder: benchmark.bench(
            {"fp32 onnx": exported.model.path}, runnable, profiles=profiles, ranges=spec.ranges()
        ),
        reporting.said.bench,
    )


def _package(
    steps: Steps, spec: Spec, plans: Sequence[EnginePlan], proofs: Sequence[Verification]
) -> tuple[TritonModel, ...]:
    """One Triton folder a backend; its plans share the folder by compute capability."""
    backends = list(dict.fromkeys(p.target.backend for p in plans))
    made = []
    for backend in backends:
        fleet = [p for p in plans if p.target.backend == backend]
        name = spec.model.name if len(backends) == 1 else f"{spec.model.name}_{backend}"
        options = spec.triton.model_dump()

        def recipe(fleet: list[EnginePlan] = fleet, name: str = name, options: dict[str, Any] = options) -> Recipe:
            return Recipe(
                "package",
                code_digest(triton.__name__),
                {p.target.compute_capability: p.plan.digest for p in fleet}
                | {f"io {p.target.compute_capability}": _interface_digest(p) for p in fleet},
                {"name": name, **options},
                toolchain(*triton.PACKAGES),
            )

        def make(
            folder: Path, fleet: list[EnginePlan] = fleet, name: str = name, options: dict[str, Any] = options
        ) -> TritonModel:
            return triton.package(fleet, proofs, folder, name=name, **options)

        made.append(steps.take("package", TritonModel, recipe, make, reporting.said.package))
    return tuple(made)


def _device(plan: EnginePlan) -> dict[str, str]:
    """What running a plan depends on beside the plan: the GPUs, their driver, and the TensorRT that loads it."""
    found = {f"gpu {number}": f"{g.name}, driver {g.driver}" for number, g in enumerate(gpus())}
    return found | toolchain(*packages(plan.target.backend))


def _interface_digest(plan: EnginePlan) -> str:
    return json_digest([_json(plan.inputs), _json(plan.outputs), _json(plan.profiles)])


def _json(values: Sequence[object]) -> list[Any]:
    """JSON values of several artifacts."""
    return [to_json(value) for value in values]


def _all_packages(targets: Sequence[Target]) -> list[str]:
    backends = [p for t in targets for p in packages(t.backend)]
    stages = (exporters, rewriter, calibration, precision, verification, triton)
    return list(dict.fromkeys([p for stage in stages for p in stage.PACKAGES] + backends))


__all__ = ["BuildResult", "build"]
