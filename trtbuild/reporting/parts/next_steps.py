"""What to do next, by rule: each is a function of the document, and speaks only where its figures say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trtbuild.reporting.formats import microseconds, percent
from trtbuild.reporting.parts.measured import not_held

Document = Mapping[str, Any]

MUCH_CLIPPED = 0.01
"""Share of a tensor's values above its threshold from which on that is worth a look."""
MUCH_FLOAT = 0.2
"""Share of a quantised plan's matrix work that runs in something else from which on that is worth a look."""
LAUNCH_SECONDS = 2e-6
"""What launching a kernel takes at the least: an assumption that no datasheet gives, and so a hint and no figure."""
MUCH_ROOM_DB = 45.0
"""SQNR from which on a 16-bit build has room for 8 bits."""


def next_steps(document: Document) -> list[dict[str, str]]:
    """``rule``, ``because`` (the figures) and ``do``, in the order in which they should be done; each ``do`` once."""
    found: dict[tuple[str, str], list[str]] = {}
    for rule in RULES:
        for because, do in rule(document):
            found.setdefault((rule.__name__.lstrip("_"), do), []).append(because)
    return [{"rule": rule, "because": " ".join(because), "do": do} for (rule, do), because in found.items()]


def _more_samples(document: Document) -> Iterator[tuple[str, str]]:
    for gate in not_held(document):
        if gate["undecided"]:
            yield f"{gate['rule']}: {gate['undecided']}", "Raise accuracy.samples, and give the reader that many rows."


def _accuracy(document: Document) -> Iterator[tuple[str, str]]:
    broken = [g for g in not_held(document) if not g["undecided"]]
    if broken:
        precision = document["asked"]["precision"]
        do = "Run `trtbuild debug` on the FP32 and the typed ONNX: it names the nodes that add most error."
        if precision not in ("best", "fp32", "tf32"):
            do += " Or take precision best, which keeps such nodes higher."
        yield "; ".join(f"{g['rule']}: measured {g['value']:.6g}" for g in broken), do


def _real_data(document: Document) -> Iterator[tuple[str, str]]:
    calibration = document["asked"]["calibration"]
    if calibration and calibration["synthetic"]:
        yield "Calibrated on random data.", "Give calibration.reader rows like those that will be served."
    if any(proof["synthetic"] for proof in document["verifications"]):
        yield "Verified on random inputs.", "Give the spec an accuracy block with held-out rows."


def _asked_and_got(document: Document) -> Iterator[tuple[str, str]]:
    for plan in document["plans"]:
        missed = len(plan["not_honoured"])
        if missed:
            yield (
                f"{plan['target']}: {missed} matrix nodes do not run in the precision that was asked for.",
                "Keep the nodes that the table of layers names in FP16 by precision_overrides, or change the target.",
            )


def _slower(document: Document) -> Iterator[tuple[str, str]]:
    for result in (document["speed_gate"] or {"results": ()})["results"]:
        if result["engine_ms"] > result["sibling_ms"] * (1 + result["margin"]):
            yield (
                f"{result['target']}: {result['engine_ms']:.3f} ms, and {result['sibling_ms']:.3f} ms in FP16.",
                "Serve FP16 on this target: it is faster and more accurate.",
            )


def _split_profiles(document: Document) -> Iterator[tuple[str, str]]:
    for advice in (document["benchmark"] or {"advice": ()})["advice"]:
        split = "Split the profile: the lines to paste stand under speed."
        yield advice["said"], split if advice["paste"] else "Measure each axis by itself: `trtbuild bench`."


def _measure_speed(document: Document) -> Iterator[tuple[str, str]]:
    if document["benchmark"] is None and document["plans"]:
        names = ", ".join(
            dict.fromkeys(p["gpu"] or f"compute capability {p['compute_capability']}" for p in document["plans"])
        )
        yield (
            "No plan was run, so neither speed nor the plan's own numbers are known.",
            (f"Build or bench on a machine with the target's GPU: {names}."),
        )


def _float_work(document: Document) -> Iterator[tuple[str, str]]:
    precision = document["asked"]["precision"]
    if precision not in ("int8", "fp8"):
        return
    for plan in document["plans"]:
        share = 1 - plan["work"].get(precision, 0.0)
        if plan["work"] and share > MUCH_FLOAT and not plan["not_honoured"]:
            yield (
                f"{plan['target']}: {percent(share)} of the matrix work does not run in {precision}.",
                "The table of layers says why; products of two activations stay in float on purpose.",
            )


def _clipped(document: Document) -> Iterator[tuple[str, str]]:
    for tensor in (document["ranges"] or {"worst": ()})["worst"]:
        if (tensor["clipped"] or 0) > MUCH_CLIPPED:
            yield (
                f"{tensor['tensor']}: {percent(tensor['clipped'])} of its values lie above the threshold.",
                "If accuracy falls short, try calibration.method minmax, or keep the node that reads it in FP16.",
            )


def _launches(document: Document) -> Iterator[tuple[str, str]]:
    for plan in document["plans"]:
        if _launched(plan):
            took = (
                f"{plan['kernels']} kernels take {microseconds(plan['estimate']['estimated_seconds'])} µs by estimate"
            )
            yield (
                f"{plan['target']}: {took}; launching them is assumed to take longer.",
                "Larger batches, and CUDA graphs, bring more here than a lower precision.",
            )


def _launched(plan: Mapping[str, Any]) -> bool:
    """Whether launching a plan's kernels takes longer, by estimate, than what they do."""
    return bool(plan["estimate"]) and plan["estimate"]["estimated_seconds"] < plan["kernels"] * LAUNCH_SECONDS


def _bound(document: Document) -> Iterator[tuple[str, str]]:
    for plan in document["plans"]:
        shares = (plan["estimate"] or {"bound_shares": {}})["bound_shares"]
        if shares.get("memory", 0) > 0.5 and not _launched(plan):
            yield (
                f"{plan['target']}: by estimate {percent(shares['memory'])} of the time is bound by memory.",
                "Fewer bytes help there, more operations do not: larger batches, or smaller weights (int8, int4).",
            )


def _room(document: Document) -> Iterator[tuple[str, str]]:
    if document["asked"]["precision"] not in ("fp16", "bf16") or not document["passed"]:
        return
    for proof in document["verdict"]["proofs"]:
        worst = proof["worst"]
        if worst and (worst["sqnr_db"] or 0) > MUCH_ROOM_DB:
            yield (
                f"SQNR {worst['sqnr_db']:.1f} dB leaves room.",
                "Try precision int8, or best with a floor, and calibration rows.",
            )


def _longer_search(document: Document) -> Iterator[tuple[str, str]]:
    search = document["precision"]["search"]
    if search and not search["complete"]:
        yield (
            f"The time budget ended the search after {search['runs']} graphs.",
            ("Raise search.time_budget_s: what was measured is kept, and it goes on from there."),
        )


RULES: tuple[Callable[[Document], Iterator[tuple[str, str]]], ...] = (
    _accuracy, _more_samples, _slower, _real_data, _asked_and_got, _measure_speed, _split_profiles, _longer_search,
    _float_work, _clipped, _launches, _bound, _room,
)  # fmt: skip
"""In the order of their weight."""
