"""Looking things up in a report document: what was timed, and the figure that accuracy is told by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def at_opt(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Timings at the first profile's opt sizes, or at the shapes that were given; empty where nothing was timed."""
    timings = (document["benchmark"] or {"timings": ()})["timings"]
    return [t for t in timings if t["axis"] is None and t["end"] in ("opt", "given") and t["profile"] in (0, None)]


def of_plan(document: Mapping[str, Any], target: str) -> Mapping[str, Any] | None:
    """The timing at opt of a target's plan, and not of its FP16 sibling; None where it was not timed."""
    name = f"plan {target} {document['asked']['precision']}"
    return next((t for t in at_opt(document) if t["subject"] == name or t["subject"].startswith(f"{name} ")), None)


def baseline(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The timing at opt that the others are held against; None where nothing was timed."""
    name = (document["benchmark"] or {}).get("baseline")
    return next((t for t in at_opt(document) if t["subject"] == name), None)


def fidelity(proof: Mapping[str, Any]) -> dict[str, Any] | None:
    """The output with the smallest mean cosine: its name, cosine and SQNR; None where no output was compared."""
    if not proof["outputs"]:
        return None
    worst = min(proof["outputs"], key=lambda o: o["cosine"])
    return {"output": worst["output"], "cosine": worst["cosine"], "sqnr_db": worst["sqnr_db"]}


def proof_of(document: Mapping[str, Any], sha256: str) -> Mapping[str, Any] | None:
    """The proof that ran a plan itself; None where only the ONNX it was compiled from ran."""
    return next((v for v in document["verifications"] if v["plan"] == sha256 and v["subject"] == "engine"), None)


def not_held(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Rules of the accuracy gate that do not hold, or of which the samples cannot tell."""
    for proof in document["verifications"]:
        yield from (gate for gate in proof["gates"] if not gate["passed"])
