"""The report as Markdown, verdict first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtbuild.console import human_size
from trtbuild.reporting.estimates import estimates
from trtbuild.reporting.said import built, shares
from trtbuild.reporting.speed import render_gate, render_speed
from trtbuild.reporting.tables import markdown_table as _table


def render_report(document: Mapping[str, Any]) -> str:
    """Markdown from a report document.

    Args:
        document: What ``report_document`` returned, or a ``report.json`` read back.
    """
    parts = [
        _verdict(document),
        _warnings(document),
        _asked(document),
        _accuracy(document),
        _plans(document),
        _sizes(document),
        _precision(document),
        _graph(document),
        _bench(document),
        _tuning(document),
        _next_steps(document),
        _serving(document),
        _stages(document),
        _versions(document),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _tuning(d: Mapping[str, Any]) -> str:
    tuning = d.get("tuning")
    if not tuning:
        return ""
    rows = [
        (r["setting"] + (" (best)" if r["best"] else ""), r["concurrency"], f"{r['throughput']:,.0f}",
         f"{r['p50_ms']:.3f}", f"{r['p99_ms']:.3f}" + ("" if r["kept"] else " (over)"))
        for r in tuning["rows"]
    ]  # fmt: skip
    said = f"p99 at most {tuning['p99_ms']:.3f} ms. Before: {tuning['before']}. Best: {tuning['best']}."
    table = _table(("setting", "threads", "requests/s", "p50 ms", "p99 ms"), rows)
    return f"## Serving, tuned on a live server\n\n{said}\n\n{table}"


def _verdict(d: Mapping[str, Any]) -> str:
    verdict = "passed" if d["passed"] else "did NOT pass"
    targets = ", ".join(t["name"] for t in d["asked"]["targets"])
    ran = {v["subject"] for v in d["verifications"]}
    where = "on a GPU" if ran == {"engine"} else "not on a GPU (the compiled ONNX ran instead of the plan)"
    return f"# {d['model']}: {d['asked']['precision']} for {targets}\n\n**Verification {verdict}**, {where}."


def _warnings(d: Mapping[str, Any]) -> str:
    if not d["warnings"]:
        return ""
    return "## Before you serve this\n\n" + "\n".join(f"- {w}" for w in d["warnings"])


def _asked(d: Mapping[str, Any]) -> str:
    asked = d["asked"]
    rows = [
        ("source", f"`{d['source']}`"),
        ("precision", asked["precision"]),
        ("targets", ", ".join(f"{t['name']} ({t['compute_capability']}, {t['backend']})" for t in asked["targets"])),
    ]
    for number, profile in enumerate(asked["profiles"]):
        rows.append(
            (f"profile {number}", ", ".join(f"{a} {low}..{opt}..{high}" for a, (low, opt, high) in profile.items()))
        )
    if asked["calibration"]:
        c = asked["calibration"]
        random = " (**random data**)" if c["synthetic"] else ""
        rows.append(("calibration", f"{c['method']}, {c['samples']} samples from `{c['reader']}`{random}"))
    return "## What was asked\n\n" + _table(("key", "value"), rows)


def _accuracy(d: Mapping[str, Any]) -> str:
    parts = ["## Accuracy against FP32"]
    for proof in d["verifications"]:
        verdict = "passed" if proof["passed"] else "NOT PASSED"
        random = "random" if proof["synthetic"] else "held-out"
        parts.append(f"Subject: **{proof['subject']}**, {proof['samples']} {random} samples: {verdict}.")
        if proof["task"]:
            t = proof["task"]
            parts.append(
                _table(("metric", "FP32", d["asked"]["precision"], "drop", "95 % interval", "at most (95 %)"),
                       [(t["metric"], f"{t['reference']:.4f}", f"{t['subject']:.4f}", *_drop(t))])
            )  # fmt: skip
        rows = [(g["rule"], f"{g['value']:.6g}", _VERDICTS[g["verdict"]], g["source"]) for g in proof["gates"]]
        undecided = [g["undecided"] for g in proof["gates"] if g["undecided"]]
        parts.append(_table(("rule", "measured", "verdict", "from"), rows))
        parts.append(
            _table(
                (
                    "output",
                    "cosine",
                    "smallest",
                    "SQNR dB",
                    "largest error",
                    "99 % within",
                    "mean error",
                    "FP32 range",
                    "range",
                    "worst element",
                ),
                [_output_row(o) for o in proof["outputs"]],
            )
        )
        parts += [f"_{note}._" for note in (*undecided, *proof["notes"])]
    return "\n\n".join(parts)


_VERDICTS = {"passed": "pass", "not passed": "**FAIL**", "cannot tell": "**cannot tell**"}


def _drop(task: Mapping[str, Any]) -> tuple[str, str, str]:
    drop = f"{task['reference'] - task['subject']:+.4f}"
    interval, bound = task["drop_interval"], task["drop_at_most"]
    shown = "not known" if interval is None else f"{interval[0]:+.4f} to {interval[1]:+.4f}"
    return drop, shown, "not known" if bound is None else f"{bound:.4f}"


def _output_row(o: Mapping[str, Any]) -> list[str]:
    sqnr = "exact" if o["sqnr_db"] is None else f"{o['sqnr_db']:.1f}"
    worst = o["worst"]
    where = (
        "none"
        if worst is None
        else (f"sample {worst['sample']} {worst['index']}: {worst['reference']:.4g} became {worst['subject']:.4g}")
    )
    return [
        f"`{o['output']}`", f"{o['cosine']:.6f}", f"{o['cosine_min']:.6f}", sqnr, f"{o['max_abs']:.4g}",
        "" if o["p99_abs"] is None else f"{o['p99_abs']:.4g}", f"{o['mean_abs']:.4g}", _range(o["reference_range"]),
        _range(o["subject_range"]), where,
    ]  # fmt: skip


def _range(pair: Sequence[float]) -> str:
    return f"{pair[0]:.4g} .. {pair[1]:.4g}"


def _plans(d: Mapping[str, Any]) -> str:
    rows = [
        (p["target"], p["compute_capability"], f"{p['backend']} {p['backend_version']}", human_size(p["size"]),
         _kernels(p), shares(p["work"]), _bytes(p), f"`{p['sha256'][:16]}`", built(p["reproducible"]))
        for p in d["plans"]
    ]  # fmt: skip
    head = ("target", "SM", "built by", "size", "kernels", "matrix work", "bytes moved", "SHA-256", "built")
    lines = ["## Engines", _table(head, rows)]
    lines.append("Matrix work is the share of multiply-accumulates by the precision of the kernel that does them, read "
                 "back from the built engine. Bytes moved are those of every tensor a kernel reads or writes, by the "
                 "precision it reads in, at the first profile's opt sizes; counted, not measured.")  # fmt: skip
    for plan in d["plans"]:
        if plan["not_honoured"]:
            missed = [(f"`{n}`", asked, got) for n, (asked, got) in plan["not_honoured"].items()]
            lines.append(f"Not as asked on {plan['target']}:\n\n" + _table(("node", "asked", "got"), missed))
    return "\n\n".join([*lines, *estimates(d)])


def _kernels(plan: Mapping[str, Any]) -> str:
    """How many kernels, and how many of them are fused attentions or only move data."""
    roles = plan.get("roles", {})
    parts = [f"{roles[role]} {role}" for role in ("attention", "reformat") if roles.get(role)]
    return f"{plan['kernels']}" + (f" ({', '.join(parts)})" if parts else "")


def _bytes(plan: Mapping[str, Any]) -> str:
    said = plan.get("bytes", {"shares": {}, "unknown": 0})
    if not said["shares"]:
        return "not known"
    return shares(said["shares"]) + (f"; {said['unknown']} kernels not known" if said["unknown"] else "")


def _sizes(d: Mapping[str, Any]) -> str:
    before = d["sizes"]["fp32 onnx"]
    rows = [(name, human_size(size), f"{size / before:.2f}") for name, size in d["sizes"].items()]
    return "## Sizes\n\n" + _table(("file", "size", "of FP32"), rows)


def _graph(d: Mapping[str, Any]) -> str:
    export, rewrite = d["export"], d["rewrite"]
    lines = ["## What was done to the graph", f"Exported by {export['exporter']}, opset {export['opset']}."]
    lines += [f"- {note}" for note in export["notes"]]
    if export["parity"]:
        rows = [
            (
                ", ".join(f"{n}:{'x'.join(map(str, s))}" for n, s in r["shapes"].items()),
                f"{r['max_abs']:.2e}",
                f"{r['max_rel']:.1e}",
            )
            for r in export["parity"]
        ]
        lines.append(_table(("torch against ONNX at", "largest difference", "of the output"), rows))
    edits = ", ".join(f"{rule} x{n}" for rule, n in rewrite["edits"].items()) or "no rule applied"
    lines.append(f"Rewritten from {rewrite['nodes_before']} to {rewrite['nodes_after']} nodes: {edits}.")
    lines += [f"- {note}" for note in rewrite["notes"]]
    if rewrite["applied"]:
        shown = rewrite["applied"][:40]
        lines.append(_table(("rule", "node", "change"), [(e["rule"], f"`{e['node']}`", e["change"]) for e in shown]))
    if rewrite["declined"]:
        shown = rewrite["declined"][:40]
        lines.append(_table(("declined", "node", "why"), [(e["rule"], f"`{e['node']}`", e["reason"]) for e in shown]))
    return "\n\n".join(lines)


def _precision(d: Mapping[str, Any]) -> str:
    precision = d["precision"]
    nodes = ", ".join(f"{n} {p}" for p, n in precision["nodes"].items()) or "none"
    lines = ["## Precision", f"Matrix nodes by precision in the graph: {nodes}."]
    lines += [f"- {note}" for note in precision["calibration"]]
    if precision["tried"]:
        rows = [
            (
                t["name"],
                f"{t['before_db']:.1f}",
                f"{t['after_db']:.1f}",
                "kept" if t["kept"] else "not kept",
                t["change"],
            )
            for t in precision["tried"]
        ]
        lines.append("What was tried for better INT8, judged on calibration rows that fitted nothing (SQNR, dB):")
        lines.append(_table(("tried", "before", "after", "", "what it does"), rows))
    if precision["search"]:
        lines += _front(precision["search"])
    lines += [f"- {n} in float: {reason}" for reason, n in precision["kept"].items()]
    lines += [f"- {note}" for note in precision["notes"]]
    return "\n\n".join(lines)


def _front(search: Mapping[str, Any]) -> list[str]:
    rows = []
    for number, point in enumerate(search["points"]):
        measured = point["cosine"] is not None
        rows.append(
            (
                "**taken**" if number == search["chosen"] else "",
                ", ".join(f"{share:.0%} {kind}" for kind, share in point["shares"].items() if share),
                f"{point['cosine']:.6f}" if measured else "not run",
                f"{point['sqnr_db']:.1f}" if measured else f"about {point['predicted_db']:.1f}",
                ", ".join(f"{name} {seconds * 1e6:.0f}" for name, seconds in point["seconds"].items()),
                human_size(point["weight_bytes"]),
            )
        )
    whole = "" if search["complete"] else " The time budget ended it."
    said = f"The front under {search['floor']}: {search['runs']} graphs run on {search['judged_on']} rows.{whole}"
    head = ("", "matrix work", "cosine", "SQNR dB", "estimated us", "weights")
    notes = [f"- {note}" for note in search["notes"]]
    return [said + " Times are estimates from datasheet rates, not measured.", _table(head, rows), *notes]


def _bench(d: Mapping[str, Any]) -> str:
    measured = d["benchmark"]
    said = (
        render_speed(measured)
        if measured
        else "Not run on a GPU: this machine has none of the targets' compute capability."
    )
    return "\n\n".join(part for part in ("## Speed", said, render_gate(d.get("speed_gate"))) if part)


def _next_steps(d: Mapping[str, Any]) -> str:
    """Also of a report from before there were any."""
    lines = [f"{number}. **{step['do']}** {step['because']}" for number, step in enumerate(d.get("next_steps", ()), 1)]
    return "## Next steps\n\n" + "\n".join(lines) if lines else ""


def _serving(d: Mapping[str, Any]) -> str:
    if not d["packages"]:
        return "## Triton\n\nNothing was packaged: a gate did not pass." if not d["passed"] else ""
    lines = ["## Triton"]
    for model in d["packages"]:
        reason = model["serving"]
        state = "The named release loads it." if reason == "triton" else reason[:1].upper() + reason[1:] + "."
        lines.append(
            f"`model_repository/{model['name']}`: " + ", ".join(f"`{f}`" for f in model["files"]) + f". {state}"
        )
        if model.get("beside"):
            beside = ", ".join(f"`{f}`" for f in model["beside"])
            lines.append(f"Beside it {beside}; a client calls `{model['calls']}`.")
        if model.get("docker_run"):
            lines.append(f"```\n{model['docker_run']}\n```")
    return "\n\n".join(lines)


def _stages(d: Mapping[str, Any]) -> str:
    rows = [
        (s["stage"], f"{s['seconds']:.2f}", "from the store" if s["hit"] else "made", f"`{s['key'][:12]}`")
        for s in d["stages"]
    ]
    total = sum(s["seconds"] for s in d["stages"])
    return "## Time\n\n" + _table(("stage", "s", "result", "key"), [*rows, ("total", f"{total:.2f}", "", "")])


def _versions(d: Mapping[str, Any]) -> str:
    rows = [(name, version) for name, version in sorted(d["versions"].items())]
    return "## Versions\n\n" + _table(
        ("package", "version"), [("trtbuild", d["trtbuild"]), *(r for r in rows if r[0] != "trtbuild")]
    )
