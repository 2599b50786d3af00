"""The package stage: a Triton model folder from plans that were verified, and from no others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtbuild.artifacts import EnginePlan, StoredFile, TritonModel, Verification
from trtbuild.errors import AccuracyError, IntegrityError, SpecError
from trtbuild.triton.config import batch_axis, model_config
from trtbuild.triton.releases import release, serving

PACKAGES = ("tritonclient", "protobuf")

__all__ = ["PACKAGES", "package", "release"]


def package(
    plans: Sequence[EnginePlan],
    verifications: Sequence[Verification],
    workdir: Path | str,
    *,
    name: str,
    release: str = "26.04",
    max_queue_delay_us: int = 500,
    instances: int = 1,
    response_cache: bool = False,
    version: int = 1,
) -> TritonModel:
    """Writes ``config.pbtxt`` and names every file of the model folder.

    Args:
        plans: One plan a target; several make one folder that serves a fleet by compute capability.
        verifications: Proofs that cover each plan: of the plan itself, or of the exact ONNX it was compiled from.
        workdir: Folder for ``config.pbtxt``.
        name: Model name, also the folder's.
        release: Triton release that shall serve it.
        max_queue_delay_us: How long the dynamic batcher may wait, microseconds.
        instances: Model instances a GPU.
        response_cache: Whether Triton may answer a repeated request from its cache.
        version: Number of the version folder.

    Returns:
        The folder's files by their path inside it, and whether that release can load the plans.

    Raises:
        IntegrityError: Nothing verifies a plan.
        AccuracyError: A plan's verification did not pass.
        SpecError: The plans differ in inputs, outputs or profiles, or are of several backends; or one cannot be served.
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
    fleet = {p.target.compute_capability: p for p in plans}  # two targets of one capability share their plan
    single = len(fleet) == 1
    files = {c: "model.plan" if single else f"model.sm{p.target.sm}.plan" for c, p in fleet.items()}
    reason = serving(plans[0].target.backend, plans[0].backend_version, release)
    text = model_config(
        name, plans, files,
        max_queue_delay_us=max_queue_delay_us, instances=instances, response_cache=response_cache,
        provenance={f"trtbuild.plan.{c}": p.plan.sha256 for c, p in fleet.items()}
        | {"trtbuild.backend": f"{plans[0].target.backend} {plans[0].backend_version}"},
    )  # fmt: skip
    place = Path(workdir) / "config.pbtxt"
    place.write_text(text, encoding="utf-8")
    inside = {"config.pbtxt": StoredFile.of(place)}
    inside |= {f"{version}/{files[c]}": p.plan for c, p in fleet.items()}
    return TritonModel(
        name=name,
        files=inside,
        plans={p.plan.sha256: f"{version}/{files[c]}" for c, p in fleet.items()},
        serving=reason,
        notes=(*([] if reason == "triton" else [reason]), *_notes(plans[0])),
    )


def _notes(plan: EnginePlan) -> list[str]:
    """What Triton will do that the plan cannot take, and what it has to be told to load it."""
    told = {
        "version_compatible": "a version-compatible plan: start Triton with --backend-config=tensorrt,"
        "version-compatible=true",
        "plugins": "the plan has plug-ins: start Triton with --backend-config=tensorrt,plugins=<their files>",
    }
    return [*_first_batch(plan), *(said for option, said in told.items() if plan.options.get(option))]


def _first_batch(plan: EnginePlan) -> list[str]:
    """A note where the profiles leave out a single request."""
    axis = batch_axis((*plan.inputs, *plan.outputs))
    smallest = min((p.axes[axis].min for p in plan.profiles), default=1) if axis else 1
    if smallest > 1:
        return [f"the profiles begin at a batch of {smallest}: a single request will fail; let {axis} begin at 1"]
    return []


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
