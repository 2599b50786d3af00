"""What may be packaged: verified plans that share their interface, and settings that can be told to be wrong early."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtbuild.artifacts import EnginePlan, Verification
from trtbuild.errors import AccuracyError, IntegrityError, SpecError
from trtbuild.spec.triton import TritonSpec
from trtbuild.triton.checks import check_model_name
from trtbuild.triton.ensemble import python_model
from trtbuild.triton.gating import check_release
from trtbuild.triton.messages import schema
from trtbuild.triton.override import merge
from trtbuild.triton.releases import release


def hold_settings(name: str, settings: TritonSpec, folder: Path) -> None:
    """Refuses, before there is a plan, what packaging would refuse with any plan.

    Raises:
        SpecError: A name that Triton forbids, an unknown release, a field that it does not know, a file that is not
            there.
    """
    check_model_name(name)
    release(settings.release)
    config = schema().ModelConfig(name=name)
    for family in settings.metrics:
        config.model_metrics.metric_control.add().metric_identifier.family = family
    check_release(config, settings.release, "triton.metrics")
    inside = schema().ModelConfig(name=name)
    inside.ensemble_scheduling.max_inflight_requests = settings.max_inflight_requests or 0
    check_release(inside, settings.release, "triton.max_inflight_requests")
    merge(config, {key: value for key, value in settings.override.items() if key not in ("input", "output")})
    check_release(config, settings.release, "triton.override")
    for kind, step in (("preprocess", settings.preprocess), ("postprocess", settings.postprocess)):
        if step:
            python_model(folder / step.file, f"triton.{kind}.file")
    for output, file in settings.labels.items():
        if not (folder / file).is_file():
            raise SpecError(
                f"there is no file {file}", place=f"triton.labels.{output}", hint="paths are relative to the spec"
            )


def hold_plans(plans: Sequence[EnginePlan], verifications: Sequence[Verification]) -> None:
    """The plans are verified, can be served as they are, and make one folder.

    Raises:
        IntegrityError: Nothing verifies a plan.
        AccuracyError: A plan's verification did not pass.
        SpecError: There is none, one cannot be served, or they do not belong together.
    """
    if not plans:
        raise SpecError("there is no plan to package", place="package", hint="compile at least one target")
    for plan in plans:
        _hold_verified(plan, verifications)
        if plan.not_ready:
            raise SpecError(
                f"Triton cannot serve this plan: {plan.not_ready}",
                place=f"target {plan.target.name}",
                hint="build it again without that option",
            )
    _hold_alike(plans)


def _hold_verified(plan: EnginePlan, verifications: Sequence[Verification]) -> None:
    """The plan has a proof that passed: of itself, or of the ONNX it was compiled from."""
    covering = [
        v for v in verifications if v.plan == plan.plan.digest or (v.plan is None and v.subject_digest == plan.onnx)
    ]
    if not covering:
        raise IntegrityError(
            "nothing verifies this plan", place=f"target {plan.target.name}", hint="run `trtbuild verify` on it first"
        )
    failed = [g.rule for v in covering for g in v.gates if not g.passed]
    if failed:
        raise AccuracyError(
            f"the plan did not pass verification: {failed[0]}",
            place=f"target {plan.target.name}",
            hint="a plan that failed its accuracy gate is not packaged",
        )


def _hold_alike(plans: Sequence[EnginePlan]) -> None:
    """The plans are of one backend and one interface, one a compute capability."""
    first = plans[0]
    by_capability: dict[str, EnginePlan] = {}
    for plan in plans:
        other = by_capability.setdefault(plan.target.compute_capability, plan)
        if other.plan.sha256 != plan.plan.sha256:
            raise SpecError(
                f"{plan.target.name} and {other.target.name} are different plans for {plan.target.compute_capability}",
                place="package",
                hint="a model folder holds one plan a compute capability: leave one out",
            )
    for plan in plans[1:]:
        if plan.target.backend != first.target.backend:
            raise SpecError(
                f"{plan.target.name} is built by {plan.target.backend}, {first.target.name} by {first.target.backend}",
                place="package",
                hint="package each backend's plans on their own",
            )
        if (plan.inputs, plan.outputs, plan.profiles) != (first.inputs, first.outputs, first.profiles):
            raise SpecError(
                f"{plan.target.name} and {first.target.name} differ in inputs, outputs or profiles",
                place="package",
                hint="one model folder serves plans of one interface",
            )
