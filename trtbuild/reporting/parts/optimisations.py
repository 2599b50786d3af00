"""From the baseline to the plans: every change in order, with what is known of its effect and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbuild.reporting.parts.measured import baseline, fidelity, of_plan, proof_of


def optimisations(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a step; None is what nobody measured.

    A row has ``step``, ``what``, ``applied``, ``bytes`` of its file and their ratio to the FP32 ONNX, ``nodes``,
    ``before_db`` and ``after_db`` (SQNR of the worst output, dB, on rows of ``judged_on``), ``cosine``, ``score`` of
    the task metric, ``p50_ms`` (measured) and ``estimated_seconds`` (from datasheet rates).
    """
    rewrite = document["rewrite"]
    edits = sum(rewrite["edits"].values())
    steps = [
        _step(document, "baseline", f"FP32 ONNX from {document['export']['exporter']}", file="fp32 onnx")
        | {
            "nodes": rewrite["nodes_before"],
            "p50_ms": _p50(baseline(document)),
            "score": _score(document, "reference"),
        },
        _step(document, "rewrite", f"{edits} edits by {len(rewrite['edits'])} rules", file="rewritten onnx")
        | {"applied": edits > 0, "nodes": rewrite["nodes_after"]},
    ]
    steps += [_tried(document, tried) for tried in document["precision"]["tried"]]
    steps.append(_typed(document))
    return steps + [_plan(document, plan) for plan in document["plans"]]


def _step(document: Mapping[str, Any], step: str, what: str, *, file: str = "") -> dict[str, Any]:
    size, whole = document["sizes"].get(file), document["sizes"]["fp32 onnx"]
    return {
        "step": step, "what": what, "applied": True, "bytes": size, "bytes_ratio": size and size / whole, "nodes": None,
        "before_db": None, "after_db": None, "judged_on": "", "cosine": None, "score": None, "p50_ms": None,
        "estimated_seconds": None,
    }  # fmt: skip


def _tried(document: Mapping[str, Any], tried: Mapping[str, Any]) -> dict[str, Any]:
    return _step(document, tried["name"].replace("_", " "), tried["change"]) | {
        "applied": tried["kept"],
        "before_db": tried["before_db"],
        "after_db": tried["after_db"],
        "judged_on": "calibration rows kept apart",
    }


def _typed(document: Mapping[str, Any]) -> dict[str, Any]:
    nodes = ", ".join(f"{count} {kind}" for kind, count in document["precision"]["nodes"].items()) or "none"
    precision = document["asked"]["precision"]
    step = _step(document, f"precision {precision}", f"matrix nodes: {nodes}", file=f"{precision} onnx")
    proof = next((v for v in document["verifications"] if v["subject"] == "typed onnx"), None)
    return step if proof is None else step | _accuracy(proof)


def _plan(document: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    what = f"{plan['kernels']} kernels by {plan['backend']} {plan['backend_version']}"
    step = _step(document, f"plan {plan['target']}", what, file=f"plan {plan['target']}")
    proof = proof_of(document, plan["sha256"])
    estimate = plan["estimate"]
    times = {
        "p50_ms": _p50(of_plan(document, plan["target"])),
        "estimated_seconds": estimate and estimate["estimated_seconds"],
    }
    return step | ({} if proof is None else _accuracy(proof)) | times


def _accuracy(proof: Mapping[str, Any]) -> dict[str, Any]:
    worst = fidelity(proof)
    found: dict[str, Any] = {"judged_on": "random inputs" if proof["synthetic"] else "held-out rows"}
    if worst:
        found |= {"after_db": worst["sqnr_db"], "cosine": worst["cosine"]}
    return found | ({"score": proof["task"]["subject"]} if proof["task"] else {})


def _score(document: Mapping[str, Any], side: str) -> float | None:
    return next((v["task"][side] for v in document["verifications"] if v["task"]), None)


def _p50(timing: Mapping[str, Any] | None) -> float | None:
    return None if timing is None else float(timing["latency"]["p50"])
