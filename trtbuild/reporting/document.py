"""The report's and the manifest's content as JSON values: the only source of every rendering."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trtbuild import __version__
from trtbuild.artifacts import Build, EnginePlan, Estimate, Front, StoredFile, TriedTransform, Verification, to_json
from trtbuild.reporting.parts import depth, derived, ranges

SCHEMA = 1
"""Of the manifest."""
REPORT_SCHEMA = 2
"""Of the report: 1 had no parts worked out from the others, and no HTML can be made of it."""

_LONGEST = 5  # parts of an estimate that a report names


def as_text(document: Any) -> str:
    """A document as the text of a JSON file, in its own order: a report rendered from it reads as the first one."""
    return json.dumps(document, indent=2) + "\n"


def report_document(done: Build, manifest: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What was asked, what was done, what came of it, and what follows from that.

    Args:
        done: The build.
        manifest: What ``manifest_document`` made of the same build: the digests that it pins stand in the report too.
    """
    return derived(_facts(done, manifest or {}))


def _facts(done: Build, manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema": REPORT_SCHEMA,
        "trtbuild": __version__,
        "model": done.name,
        "source": done.source,
        "passed": done.passed,
        "spec": dict(done.asked),
        "asked": {
            "precision": done.precision,
            "targets": [to_json(p.target) for p in done.plans],
            "profiles": [_profile(p) for p in (done.plans[0].profiles if done.plans else ())],
            "calibration": None
            if done.table is None
            else {"reader": done.calibration_reader, "method": done.table.method, "samples": done.table.samples,
                  "synthetic": done.table.synthetic},
        },
        "warnings": list(done.warnings),
        "export": {
            "exporter": done.exported.exporter,
            "opset": done.exported.opset,
            "notes": list(done.exported.notes),
            "parity": [to_json(row) for row in done.exported.parity],
        },
        "rewrite": {
            "nodes_before": done.rewritten.nodes_before,
            "nodes_after": done.rewritten.nodes_after,
            "notes": list(done.rewritten.notes),
            "edits": dict(Counter(e.rule for e in done.rewritten.applied)),
            "applied": [to_json(e) for e in done.rewritten.applied if e.rule != "constant_nodes"],
            "declined": [to_json(d) for d in done.rewritten.declined],
        },
        "precision": {
            "nodes": dict(Counter(done.typed.assignment.values())),
            "kept": dict(Counter(done.typed.kept.values())),
            "notes": list(done.typed.notes),
            "calibration": list(done.table.notes) if done.table else [],
            "tried": [to_json(t) for t in _tried(done)],
            "judged_on": done.equalized.judged_on if done.equalized else None,
            "search": _search(done.front) if done.front else None,
        },
        "sizes": {
            "fp32 onnx": done.exported.model.total_size,
            "rewritten onnx": done.rewritten.model.total_size,
            **({"equalized onnx": done.equalized.model.total_size} if done.equalized else {}),
            f"{done.precision} onnx": done.typed.model.total_size,
            **{f"plan {p.target.name}": p.plan.size for p in done.plans},
        },
        "depth": depth(done),
        "ranges": ranges(done.table),
        "plans": [_plan(p) for p in done.plans],
        "verifications": [_verification(v) for v in done.verifications],
        "benchmark": to_json(done.benchmark) if done.benchmark else None,
        "speed_gate": to_json(done.speed) if done.speed else None,
        "packages": [
            {
                "name": m.name, "files": sorted(m.files), "serving": m.serving, "beside": sorted(m.beside),
                "calls": m.calls, "flags": list(m.flags), "docker_run": m.docker_run,
            }
            for m in done.packaged
        ],
        "stages": [{"stage": r.stage, "hit": r.hit, "seconds": round(r.seconds, 3), "key": r.key} for r in done.stages],
        "versions": dict(done.versions),
        "pinned": {side: dict(manifest.get(side, {})) for side in ("inputs", "outputs")},
    }  # fmt: skip


def _tried(done: Build) -> tuple[TriedTransform, ...]:
    """Everything that was tried for better numbers, in order."""
    before = done.equalized.tried if done.equalized else ()
    return (*before, *(done.front.tried if done.front else ()), *done.typed.tried)


def _search(front: Front) -> dict[str, Any]:
    """The front without the nodes of its cheapest graph, which are most of the model's."""
    return {
        "floor": f"{front.metric} >= {front.min}",
        "chosen": front.chosen,
        "judged_on": front.judged_on,
        "runs": front.runs,
        "complete": front.complete,
        "points": [to_json(point) for point in front.points],
        "estimates": ["seconds", "predicted_db"],  # of a point; its other figures were measured or counted
        "notes": list(front.notes),
    }


def _profile(profile: Any) -> dict[str, list[int]]:
    return {axis: [r.min, r.opt, r.max] for axis, r in profile.axes.items()}


def _plan(plan: EnginePlan) -> dict[str, Any]:
    return {
        "target": plan.target.name,
        "gpu": plan.target.gpu,
        "compute_capability": plan.target.compute_capability,
        "backend": plan.target.backend,
        "backend_version": plan.backend_version,
        "sha256": plan.plan.sha256,
        "size": plan.plan.size,
        "reproducible": plan.reproducible,
        "kernels": len(plan.layers),
        "roles": dict(Counter(layer.role for layer in plan.layers)),
        "work": dict(plan.work.shares),
        "bytes": to_json(plan.layers.of_profile(0).share_by_bytes()),
        "not_honoured": {n: list(pair) for n, pair in plan.work.not_honoured.items()},
        "layers": [to_json(layer) for layer in plan.layers],
        "tensors": [to_json(tensor) for tensor in plan.layers.tensors],
        "vanished": list(plan.layers.vanished),
        "inputs": [to_json(t) for t in plan.inputs],
        "outputs": [to_json(t) for t in plan.outputs],
        "estimate": _estimate(plan.estimate) if plan.estimate else None,
    }


def _estimate(found: Estimate) -> dict[str, Any]:
    """Totals, and the parts that take longest; every part is what ``trtbuild estimate`` prints."""
    document: dict[str, Any] = to_json(found)
    return document | {"parts": [to_json(part) for part in found.longest[:_LONGEST]]}


def _verification(proof: Verification) -> dict[str, Any]:
    document: dict[str, Any] = to_json(replace(proof, golden=()))
    document["passed"] = proof.passed
    document["golden"] = len([f for f in proof.golden if f.path.suffix == ".npz"])
    for gate, row in zip(proof.gates, document["gates"], strict=True):
        row["verdict"] = gate.verdict
    return document


def manifest_document(done: Build, files: Mapping[Path, StoredFile | str]) -> dict[str, Any]:
    """SHA-256 of every input and output, versions, targets, profiles; nothing that changes from run to run.

    The report and the log hold times, so their digests are left out.
    """
    lasting = {n: f for n, f in files.items() if n.name not in ("report.json", "report.md", "report.html", "build.log")}
    return {
        "schema": SCHEMA,
        "trtbuild": __version__,
        "model": done.name,
        "precision": done.precision,
        "passed": done.passed,
        "verified": [
            {"subject": v.subject, "sha256": v.subject_digest, "passed": v.passed, "data": v.data,
             "synthetic": v.synthetic}
            for v in done.verifications
        ],
        "inputs": {
            **done.inputs,
            "fp32 onnx": done.exported.model.digest,
        },
        "outputs": {
            name.as_posix(): _digest(file) for name, file in lasting.items()
        },
        "targets": [to_json(replace(p.target, python="")) for p in done.plans],  # a path is of this machine only
        "profiles": [_profile(p) for p in (done.plans[0].profiles if done.plans else ())],
        "plans": {p.plan.sha256: {"target": p.target.name, "backend_version": p.backend_version, "onnx": p.onnx,
                                   "reproducible": p.reproducible}
                  for p in done.plans},
        "serving": {m.name: m.serving for m in done.packaged},
        "warnings": list(done.warnings),
        "versions": dict(done.versions),
    }  # fmt: skip


def files_of_manifest(manifest: Path) -> list[Path]:
    """What an earlier manifest says lies beside it; nothing that points elsewhere, nothing when it cannot be read."""
    try:
        names = json.loads(manifest.read_text(encoding="utf-8"))["outputs"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [Path(n) for n in names if not Path(n).is_absolute() and ".." not in Path(n).parts]


def _digest(file: StoredFile | str) -> dict[str, Any]:
    if isinstance(file, StoredFile):
        return {"sha256": file.sha256, "size": file.size}
    data = file.encode()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
