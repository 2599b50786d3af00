"""Measured speed as tables, for the report and for ``trtbuild bench``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtbuild.reporting.tables import markdown_table

_PHASES = (("host_to_device", "host to device"), ("compute", "compute"), ("device_to_host", "device to host"),
           ("enqueue", "enqueue"))  # fmt: skip


def render_speed(measured: Mapping[str, Any]) -> str:
    """Markdown from a ``Benchmark`` as JSON: one table of calls, one of phases, the GPU's state, advice.

    Args:
        measured: What ``to_json`` made of it.
    """
    parts = [_calls(measured), _phases(measured["timings"]), _states(measured.get("states", ()))]
    parts += ["\n".join(f"- {note}" for note in measured["notes"])]
    parts += [
        f"{a['said']}" + (f"\n\n```yaml\n{a['paste']}\n```" if a["paste"] else "") for a in measured.get("advice", ())
    ]
    return "\n\n".join(part for part in parts if part)


def _calls(measured: Mapping[str, Any]) -> str:
    if not measured["timings"]:
        return ""
    rows = []
    for t in measured["timings"]:
        of = t["latency"]
        times = [f"{of[which]:.3f}" for which in ("p50", "p90", "p95", "p99")]
        ratio = "" if t.get("ratio") is None else f"{t['ratio']:.2f}"
        at = [t["subject"], _where(t), _shapes(t["shapes"])]
        rows.append((*at, *times, f"{of['spread']:.0%}", f"{t['throughput']:.0f}", ratio, of["runs"]))
    base = measured.get("baseline")
    said = "Milliseconds from inputs in host memory to outputs in host memory."
    if base:
        said += f" Ratios are the median of `{base}` over this one's: above 1 is faster."
    head = ("subject", "at", "shapes", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "spread", "rows/s", "ratio", "calls")
    return said + "\n\n" + markdown_table(head, rows)


def _phases(timings: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (t["subject"], _where(t), _shapes(t["shapes"]),
         *(f"{t['phases'][key]['p50']:.3f}" if key in t["phases"] else "" for key, _ in _PHASES))
        for t in timings if t.get("phases")
    ]  # fmt: skip
    if not rows:
        return ""
    said = "Medians of the parts of a call, milliseconds; enqueue is the CPU's time and overlaps the others."
    return said + "\n\n" + markdown_table(("subject", "at", "shapes", *(word for _, word in _PHASES)), rows)


def _states(states: Sequence[Mapping[str, Any]]) -> str:
    if not states:
        return ""
    rows = [
        (s["name"], s["moment"], *(_known(s[key]) for key in ("sm_mhz", "memory_mhz", "power_w", "celsius",
         "memory_used_mib")), ", ".join(s["slowed_by"]) or "nothing")
        for s in states
    ]  # fmt: skip
    head = ("GPU", "when", "SM MHz", "memory MHz", "W", "°C", "memory MiB", "slowed by")
    return "The GPU, as nvidia-smi has it:\n\n" + markdown_table(head, rows)


def _known(value: float | None) -> str:
    return "not known" if value is None else f"{value:g}"


def _where(timing: Mapping[str, Any]) -> str:
    if timing.get("profile") is None:
        return "given"
    end = timing["end"] + (f" of {timing['axis']}" if timing.get("axis") else "")
    return f"profile {timing['profile']}, {end}"


def _shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name}:{'x'.join(map(str, dims))}" for name, dims in shapes.items())


def render_gate(gate: Mapping[str, Any] | None) -> str:
    """Markdown from a ``SpeedGate`` as JSON; nothing where none applies."""
    if gate is None:
        return ""
    lines = ["### Speed gate"]
    if gate["results"]:
        rows = [
            (r["target"], r["profile"], f"{r['engine_ms']:.3f}", f"{r['sibling_ms']:.3f}",
             f"{r['sibling_ms'] / r['engine_ms']:.2f}", "pass" if _passes(r) else
             "slower, accepted" if gate["allowed"] else "**fail**")
            for r in gate["results"]
        ]  # fmt: skip
        head = ("target", "profile", "compute p50 ms", "FP16 sibling ms", "times as fast", "verdict")
        margin = f"No slower than the same model in FP16, give or take {gate['results'][0]['margin']:.0%}."
        lines += [margin, markdown_table(head, rows)]
    if gate["note"]:
        lines.append(gate["note"][:1].upper() + gate["note"][1:] + ".")
    return "\n\n".join(lines)


def _passes(result: Mapping[str, Any]) -> bool:
    return bool(result["engine_ms"] <= result["sibling_ms"] * (1 + result["margin"]))
