"""What a build hands over: what it read, what to be warned of, and the files of its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trtbuild.artifacts import (
    Build,
    CalibrationTable,
    EnginePlan,
    StageRecord,
    StoredFile,
    TritonModel,
    Verification,
)
from trtbuild.content import json_digest
from trtbuild.reporting.document import as_text, manifest_document, report_document
from trtbuild.reporting.html import render_html
from trtbuild.reporting.log import render_log
from trtbuild.reporting.markdown import render_report
from trtbuild.spec import Spec

MANIFEST = Path("manifest.json")
REPORT = Path("report.md")
PAGE = Path("report.html")


def inputs_read(spec: Spec, records: Sequence[StageRecord]) -> dict[str, str]:
    """Digests of what the user brought: the spec, the model, and the data sets."""
    read = {(record.stage.split()[0], role): digest for record in records for role, digest in record.inputs.items()}
    roles = {
        ("export", "model"): "model",
        ("calibrate", "data"): "calibration data",
        ("verify", "data"): "held-out data",
    }
    brought = {role: read[key] for key, role in roles.items() if key in read}
    return {"spec": json_digest(spec.model_dump(mode="json")), **brought}


def warnings_of(
    table: CalibrationTable | None,
    proofs: Sequence[Verification],
    plans: Sequence[EnginePlan],
    packaged: Sequence[TritonModel],
) -> tuple[str, ...]:
    """What a person must know before serving a build."""
    said: list[str] = []
    if table is not None and table.synthetic:
        said.append("calibrated on random data: the INT8 ranges mean nothing for real inputs")
    if any(p.synthetic for p in proofs):
        said.append("verified on random inputs: nothing is known about real ones")
    if any(p.subject == "typed onnx" for p in proofs):
        said.append("the plans were not run on a GPU: the exact ONNX they were compiled from was verified instead")
    for plan in plans:
        if plan.work.not_honoured:
            said.append(f"{plan.target.name}: {len(plan.work.not_honoured)} matrix nodes do not run as asked (allowed)")
        said += [f"{plan.target.name}: {w}" for w in plan.warnings]
    for model in packaged:
        said += [f"Triton folder {model.name}: {note}" for note in model.notes]
    return tuple(dict.fromkeys(said))


def renewed(document: Mapping[str, Any]) -> dict[Path, StoredFile | str]:
    """The files of a report that hold a document: what the manifest does not name, since times are in them."""
    return {Path("report.json"): as_text(document), PAGE: render_html(document), REPORT: render_report(document)}


def files_of(done: Build) -> dict[Path, StoredFile | str]:
    """Report, log, typed ONNX, the Triton model repository, and the manifest that names them all."""
    files: dict[Path, StoredFile | str] = {}
    for model in done.packaged:
        for inside, file in model.files.items():
            files[Path("model_repository") / model.name / inside] = file
        for inside, file in model.beside.items():
            files[Path("model_repository") / inside] = file
    files[Path(f"{done.name}.{done.precision}.onnx")] = done.typed.model
    for companion in done.typed.model.companions:
        files[Path(companion.path.name)] = companion
    for file in next((v.golden for v in done.verifications if v.golden), ()):
        files[Path("golden") / file.path.name] = file
    manifest = manifest_document(done, files)
    document = report_document(done, manifest)
    files[Path("report.json")] = as_text(document)
    files[REPORT] = render_report(document)
    files[PAGE] = render_html(document)
    files[Path("build.log")] = render_log(done)
    files[MANIFEST] = as_text(manifest)
    return files
