"""The whole way, top to bottom: spec in, a proved plan in a Triton folder out.

Each stage is one function of another package, called through the store: what is known is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trtbuild import benchmark, calibration, exporters, precision, recipes, reporting, rewriter, triton, verification
from trtbuild.artifacts import Build, Target
from trtbuild.backends import packages
from trtbuild.console import Observer
from trtbuild.errors import AccuracyError
from trtbuild.preflight import preflight
from trtbuild.spec import Spec, as_written, check_profiles
from trtbuild.steps import Steps
from trtbuild.store import Store, publish, toolchain

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
        AccuracyError: The accuracy gate did not pass; the report is in ``not-passed/``, the plans are not packaged, and
            what an earlier build left in the folder is untouched.
        SpeedError: The speed gate did not pass; likewise.
        TrtbuildError: Any stage's own.
    """
    observer = observer or Observer()
    steps = Steps(store or Store(on_wait=lambda s: observer.note(f"{s}: another run is at it; waiting")), observer)
    folder = output or spec.folder / spec.output
    targets = tuple(fields.target(spec.folder) for fields in spec.targets)
    profiles = spec.optimization_profiles()
    preflight(spec, targets, folder)

    exported = recipes.export(steps, spec, profiles)
    check_profiles(exported.inputs, profiles, "profiles")
    rewritten = recipes.rewrite(steps, spec, exported, targets, profiles)
    recipes.hold_buildable(rewritten)
    data = recipes.calibration_data(spec, rewritten, profiles)
    equalized = recipes.equalize(steps, spec, rewritten, data)
    model = equalized.model if equalized else rewritten.model
    table = recipes.calibrate(steps, spec, model, data)
    front = recipes.search(steps, spec, model, table, data, profiles)
    typed = recipes.assign_precision(steps, spec, model, table, front, data, profiles)
    plans = tuple(recipes.compile(steps, spec, typed, target, profiles) for target in targets)
    verifications = recipes.verify(steps, spec, exported, rewritten, typed, plans, table, profiles)
    siblings = recipes.fp16_siblings(steps, spec, model, table, plans, profiles)
    measured = recipes.bench(steps, spec, exported, plans, siblings, profiles)
    speed = recipes.speed_gate(spec, plans, siblings, measured)
    proved = all(v.passed for v in verifications)
    passed = proved and (speed is None or speed.passed)
    packaged = recipes.package(steps, spec, plans, verifications) if passed else ()

    done = Build(
        name=spec.model.name,
        source=spec.model.source,
        inputs=reporting.inputs_read(spec, steps.records),
        precision=spec.precision,
        calibration_reader=spec.calibration.reader if spec.calibration and table else None,
        exported=exported,
        rewritten=rewritten,
        equalized=equalized,
        table=table,
        front=front,
        typed=typed,
        plans=plans,
        verifications=verifications,
        benchmark=measured,
        packaged=packaged,
        stages=tuple(steps.records),
        versions=toolchain(*_all_packages(targets)),
        warnings=reporting.warnings_of(table, verifications, plans, packaged),
        speed=speed,
        asked=as_written(spec),
    )
    place = folder if passed else folder / NOT_PASSED
    files = reporting.files_of(done)
    outdated = reporting.files_of_manifest(place / reporting.MANIFEST)
    publish(files, place, last=reporting.MANIFEST, outdated=outdated)
    result = BuildResult(done, place, place / reporting.REPORT, place / reporting.MANIFEST)
    if speed is not None and speed.results:
        observer.note(f"speed gate: {reporting.said.speed(speed)}")
    if not proved:
        failed = [g for v in verifications for g in v.gates if not g.passed]
        raise AccuracyError(
            "the accuracy gate did not pass: " + "; ".join(f"{g.rule}, measured {g.value:.6g}" for g in failed),
            place=str(result.report),
            hint="another calibration.method or more samples, a higher precision, or a rule that fits the task",
        )
    if speed is not None and not speed.passed:
        raise benchmark.speed_error(speed, str(result.report))
    return result


def _all_packages(targets: Sequence[Target]) -> list[str]:
    backends = [p for t in targets for p in packages(t.backend)]
    stages = (exporters, rewriter, calibration, precision, verification, triton)
    return list(dict.fromkeys([p for stage in stages for p in stage.PACKAGES] + backends))


__all__ = ["BuildResult", "build"]
