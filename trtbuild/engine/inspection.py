"""What a plan is: from what its build wrote beside it, and from its first bytes; from the engine only when asked.

Nothing is loaded by itself: a plan is executable code. What describes a plan is held against its digest first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trtbuild import worker
from trtbuild.artifacts import AxisRange, EngineLayers, EnginePlan, OptimizationProfile, TensorSpec, from_json
from trtbuild.backends import BACKENDS
from trtbuild.content import file_digest
from trtbuild.engine.header import PlanHeader, read_header
from trtbuild.engine.layers import from_inspector
from trtbuild.errors import IntegrityError

_FOLDERS_UP = 4  # a plan lies in <folder>/model_repository/<model>/<version>/


@dataclass(frozen=True)
class Inspection:
    """What is known of a plan.

    Attributes:
        path: The plan.
        sha256: Digest of its bytes.
        header: What its first bytes say.
        described_by: Files that describe it, and that its digest fits; empty where there are none.
        target: The target's name; empty where nothing says it.
        compute_capability: What it was built for, as the description says; empty where nothing says it.
        precision: What was asked for; empty where nothing says it.
        inputs: Inputs, dynamic axes by name; empty where nothing says them.
        outputs: Outputs.
        profiles: Optimisation profiles in the plan's order.
        layers: The kernels; none where nothing says them.
        work: Shares of the matrix work by precision, as the build's gate weighed it.
        notes: What a reader should know, such as a description that does not fit.
    """

    path: Path
    sha256: str
    header: PlanHeader
    described_by: tuple[Path, ...] = ()
    target: str = ""
    compute_capability: str = ""
    precision: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    profiles: tuple[OptimizationProfile, ...] = ()
    layers: EngineLayers = EngineLayers()  # noqa: RUF009  frozen
    work: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def inspect_plan(path: Path | str, *, load: bool = False, timeout_s: float = 600) -> Inspection:
    """Says what a plan is.

    ``<plan>.json``, which ``trtbuild compile`` writes, is looked at first, then the manifest and the report of the
    folder that ``trtbuild build`` wrote.

    Args:
        path: The plan.
        load: Load it on this machine's GPU and read its kernels from the engine itself. That runs code of the plan:
            only for plans you trust.
        timeout_s: Seconds after which loading is given up.

    Raises:
        IntegrityError: Not a plan; not the one that is described; the engine does not load.
        MissingDependencyError: It shall be loaded, and there is no GPU or no TensorRT.
    """
    file = Path(path)
    header = read_header(file)
    known = Inspection(file, file_digest(file), header)
    found = _described(known) or _published(known) or known
    return _loaded(found, timeout_s) if load else found


def _described(known: Inspection) -> Inspection | None:
    """What ``<plan>.json`` says."""
    beside = known.path.with_name(f"{known.path.name}.json")
    document = _json(beside)
    if document is None:
        return None
    try:
        plan = from_json(EnginePlan, document, base=beside.resolve().parent)
    except ValidationError:
        return replace(known, notes=(f"{beside.name} is no description of a plan, or another version's",))
    if plan.plan.sha256 != known.sha256:
        raise IntegrityError(
            f"{known.path.name} is not the plan that {beside.name} describes",
            place=str(known.path),
            hint="build it again; do not load it",
        )
    return replace(
        known,
        described_by=(beside,),
        target=plan.target.name,
        compute_capability=plan.target.compute_capability,
        precision=plan.precision,
        inputs=plan.inputs,
        outputs=plan.outputs,
        profiles=plan.profiles,
        layers=plan.layers,
        work=plan.work.shares,
    )


def _published(known: Inspection) -> Inspection | None:
    """What manifest and report of the build's folder say; either may be gone."""
    for folder in list(known.path.resolve().parents)[:_FOLDERS_UP]:
        manifest, report = _json(folder / "manifest.json"), _json(folder / "report.json")
        _hold_to_manifest(known, folder, manifest)
        found = known
        try:
            if _plans(manifest, "plans").get(known.sha256):
                found = _with_manifest(found, folder / "manifest.json", manifest)
            entry = next((p for p in _items(report, "plans") if p.get("sha256") == known.sha256), None)
            if entry is not None:
                found = _with_report(found, folder / "report.json", entry)
        except (ValidationError, KeyError, TypeError, AttributeError, ValueError):
            return replace(known, notes=(f"manifest and report in {folder} are not this version's: not read",))
        if found is not known:
            return found
    return None


def _hold_to_manifest(known: Inspection, folder: Path, manifest: Any) -> None:
    name = known.path.resolve().relative_to(folder).as_posix()
    said = _plans(manifest, "outputs").get(name)
    if isinstance(said, Mapping) and said.get("sha256") != known.sha256:
        raise IntegrityError(
            f"{known.path.name} is not the plan that {folder / 'manifest.json'} names",
            place=str(known.path),
            hint="build it again; do not load it",
        )


def _with_manifest(found: Inspection, path: Path, manifest: Mapping[str, Any]) -> Inspection:
    return replace(
        found,
        described_by=(*found.described_by, path),
        target=str(manifest["plans"][found.sha256]["target"]),
        precision=str(manifest["precision"]),
        profiles=tuple(
            OptimizationProfile({axis: AxisRange(*sizes) for axis, sizes in profile.items()})
            for profile in manifest["profiles"]
        ),
    )


def _with_report(found: Inspection, path: Path, entry: Mapping[str, Any]) -> Inspection:
    return replace(
        found,
        described_by=(*found.described_by, path),
        target=str(entry["target"]),
        compute_capability=str(entry["compute_capability"]),
        inputs=from_json(tuple[TensorSpec, ...], entry["inputs"]),
        outputs=from_json(tuple[TensorSpec, ...], entry["outputs"]),
        layers=from_json(EngineLayers, {key: entry[key] for key in ("layers", "tensors", "vanished") if key in entry}),
        work=dict(entry["work"]),
    )


def _json(path: Path) -> Any:
    """A JSON file's content; None where there is none, or it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _plans(document: Any, key: str) -> Mapping[str, Any]:
    value = document.get(key) if isinstance(document, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _items(document: Any, key: str) -> list[Mapping[str, Any]]:
    value = document.get(key) if isinstance(document, Mapping) else None
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _loaded(known: Inspection, timeout_s: float) -> Inspection:
    """The kernels from the engine itself, in a worker.

    Where they are those of the description, that one stays: it knows their work as well.
    """
    backend = BACKENDS.load(known.header.backend)
    text = worker.call(
        "trtbuild.engine.loading:engine_information",
        {
            "backend": known.header.backend,
            "plan": str(known.path),
            "sha256": known.sha256,
            "compute_capabilities": list(known.header.compute_capabilities),
        },
        environment=dict(backend.ENVIRONMENT),
        timeout_s=timeout_s,
    )
    engine = from_inspector(text)
    if not known.described_by:
        return replace(known, layers=engine, notes=(*known.notes, "nothing beside the plan vouches for its digest"))
    if [k.name for k in engine] == [k.name for k in known.layers]:
        return replace(known, notes=(*known.notes, "loaded: the engine has the kernels of its description"))
    return replace(
        known, layers=engine, notes=(*known.notes, "loaded: these are the engine's kernels, not the described")
    )
