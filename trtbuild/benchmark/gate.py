"""The speed gate: a quantised engine that is slower than the same model in FP16 has no reason to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtbuild.artifacts import Benchmark, Precision, SpeedGate, SpeedResult
from trtbuild.errors import SpeedError

GATED: tuple[Precision, ...] = ("int8", "fp8", "best")
"""Precisions that promise speed. ``int8_weights`` and ``int4`` promise small weights and compute in FP16."""

NOT_RUN = "speed gate not applied: not run on a GPU"


def judge_speed(
    measured: Benchmark | None,
    siblings: Mapping[str, tuple[str, str]],
    *,
    margin: float,
    allowed: bool,
    not_run: Sequence[str] = (),
) -> SpeedGate:
    """Holds engines against their FP16 siblings, by the median compute time at the opt of every profile.

    Args:
        measured: One run that holds both; None when no plan could be run.
        siblings: Target name to the subject's name and its sibling's.
        margin: Share by which an engine may be slower and still count as equal.
        allowed: Whether the spec accepts slower engines.
        not_run: Names of the targets whose plans this machine cannot run.
    """
    results = []
    for target, (engine, sibling) in siblings.items() if measured is not None else ():
        rows = {(t.subject, t.profile): t for t in measured.timings if t.end == "opt" and t.axis is None}  # type: ignore[union-attr]
        for (subject, profile), timing in rows.items():
            other = rows.get((sibling, profile))
            if subject == engine and other is not None:
                result = SpeedResult(target, profile or 0, timing.compute.p50, other.compute.p50, margin)
                results.append(result)
    note = ""
    if not results or not_run:
        note = NOT_RUN + (f" ({', '.join(not_run)})" if results and not_run else "")
    return SpeedGate(tuple(results), allowed, note)


def speed_error(gate: SpeedGate, place: str) -> SpeedError:
    """What a build raises when the gate does not pass."""
    slower = [
        f"{r.target}, profile {r.profile}: {r.engine_ms:.3f} ms, FP16 {r.sibling_ms:.3f} ms"
        for r in gate.results
        if not r.passed
    ]
    return SpeedError(
        "the quantised engine is slower than its FP16 sibling:\n    " + "\n    ".join(slower),
        place=place,
        hint="take precision fp16, look for reformat layers in the report, or accept it with speed: "
        "{allow_slower: true}",
    )
