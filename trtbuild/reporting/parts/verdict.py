"""The verdict: passed or not, for which target, precision asked and got, size, accuracy, speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbuild.reporting.parts.measured import fidelity, not_held, of_plan


def verdict(document: Mapping[str, Any]) -> dict[str, Any]:
    """One word, the reasons where it is not ``passed``, and a row a plan.

    ``cannot tell`` stands where no rule is broken and the samples are too few for one, or nothing was verified.
    """
    failed = list(not_held(document))
    gate = document["speed_gate"] or {"results": (), "allowed": False}
    slow = [r for r in gate["results"] if r["engine_ms"] > r["sibling_ms"] * (1 + r["margin"]) and not gate["allowed"]]
    because = [
        f"{g['rule']}: measured {g['value']:.6g}" + (f"; {g['undecided']}" * bool(g["undecided"])) for g in failed
    ]
    because += [f"{r['target']}: {r['engine_ms']:.3f} ms is slower than FP16's {r['sibling_ms']:.3f} ms" for r in slow]
    if not document["verifications"]:
        because.append("nothing was verified")
    broken = bool(slow) or any(g["verdict"] == "not passed" for g in failed)
    return {
        "word": "passed" if not because else "not passed" if broken else "cannot tell",
        "because": because,
        "ran": _ran({proof["subject"] for proof in document["verifications"]}),
        "proofs": [_proof(proof) for proof in document["verifications"]],
        "plans": [_plan(document, plan) for plan in document["plans"]],
    }


def _ran(subjects: set[str]) -> str:
    if not subjects:
        return "nothing was run"
    if subjects == {"engine"}:
        return "the plans ran on a GPU"
    some = "some plans ran on a GPU, of the others" if "engine" in subjects else "the plans were not run on a GPU:"
    return f"{some} the ONNX they were compiled from ran in ONNX Runtime"


def _proof(proof: Mapping[str, Any]) -> dict[str, Any]:
    task = proof["task"]
    return {
        "subject": proof["subject"],
        "samples": proof["samples"],
        "synthetic": proof["synthetic"],
        "passed": proof["passed"],
        "worst": fidelity(proof),
        "task": task and {**task, "drop": task["reference"] - task["subject"]},
    }


def _plan(document: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    timed = of_plan(document, plan["target"])
    return {
        "target": plan["target"],
        "gpu": plan["gpu"],
        "compute_capability": plan["compute_capability"],
        "asked": document["asked"]["precision"],
        "got": plan["work"],
        "not_honoured": len(plan["not_honoured"]),
        "bytes": plan["size"],
        "bytes_ratio": plan["size"] / document["sizes"]["fp32 onnx"],
        "p50_ms": timed and timed["latency"]["p50"],
        "throughput": timed and timed["throughput"],
        "times_as_fast": timed and timed["ratio"],
    }
