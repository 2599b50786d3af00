"""Two reports side by side: the same parts, what differs marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from trtbuild.reporting.formats import FORMATS
from trtbuild.reporting.parts.measured import of_plan
from trtbuild.reporting.tables import markdown_table

Document = Mapping[str, Any]
Documents = tuple[Document, Document]
Row = dict[str, Any]

_CHANGING = "time per stage"
"""The part that differs from run to run and so says nothing of the builds."""


def compare(
    a: Document, b: Document, *, names: tuple[str, str] = ("A", "B"), plans: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """A comparison document: rows of ``part``, ``what``, ``a``, ``b``, ``format``, ``same`` and ``ratio`` (b over a).

    Args:
        a: A report document.
        b: Another.
        names: How the two are called.
        plans: What ``trtbuild diff`` says of plans for one target: ``target`` and ``lines``.
    """
    rows = [row for part in _PARTS for row in part((a, b)) if row["a"] is not None or row["b"] is not None]
    return {
        "kind": "comparison",
        "names": list(names),
        "a": dict(a),
        "b": dict(b),
        "rows": rows,
        "differs": sum(1 for row in rows if not row["same"] and row["part"] != _CHANGING),
        "plans": list(plans),
    }


def _row(part: str, what: str, pair: Iterable[Any], form: str = "") -> Row:
    a, b = pair
    rated = form in _RATIOS and all(isinstance(value, (int, float)) for value in (a, b))
    return {
        "part": part,
        "what": what,
        "a": a,
        "b": b,
        "format": form,
        "same": a == b,
        "ratio": b / a if rated and a and a != b else None,
    }


_RATIOS = ("size", "milliseconds", "whole", "microseconds")
"""Formats of figures whose ratio says something."""


def _both(part: str, sides: Iterable[Mapping[str, Any]], form: str = "") -> Iterator[Row]:
    a, b = sides
    for key in dict.fromkeys([*a, *b]):
        yield _row(part, key, (a.get(key), b.get(key)), form)


def _verdict(two: Documents) -> Iterator[Row]:
    yield _row("verdict", "verdict", (d["verdict"]["word"] for d in two))
    yield _row("verdict", "model", (d["model"] for d in two))
    yield _row("verdict", "precision asked", (d["asked"]["precision"] for d in two))
    yield _row("verdict", "targets", (", ".join(t["name"] for t in d["asked"]["targets"]) for d in two))
    yield _row("verdict", "what ran", (d["verdict"]["ran"] for d in two))
    yield _row("verdict", "warnings", ("\n".join(d["warnings"]) or None for d in two))


def _accuracy(two: Documents) -> Iterator[Row]:
    sides = [{p["subject"]: p for p in d["verdict"]["proofs"]} for d in two]
    for subject in dict.fromkeys([*sides[0], *sides[1]]):
        found = [side.get(subject) or {"worst": None, "task": None} for side in sides]
        worst = [proof["worst"] or {"cosine": None, "sqnr_db": None} for proof in found]
        yield _row("accuracy", f"{subject}: cosine", (w["cosine"] for w in worst), "cosine")
        if any(w["sqnr_db"] is not None for w in worst):
            yield _row("accuracy", f"{subject}: SQNR, dB", (w["sqnr_db"] for w in worst), "decibel")
        tasks = [proof["task"] or {} for proof in found]
        metric = next((task["metric"] for task in tasks if task), "score")
        yield _row("accuracy", f"{subject}: {metric}", (task.get("subject") for task in tasks), "score")


def _sizes(two: Documents) -> Iterator[Row]:
    yield from _both("sizes", ({_file(d, name): size for name, size in d["sizes"].items()} for d in two), "size")


def _file(document: Document, name: str) -> str:
    """One name for the typed ONNX, whatever its precision."""
    precision = document["asked"]["precision"]
    return "typed onnx" if precision != "fp32" and name == f"{precision} onnx" else name


def _plans(two: Documents) -> Iterator[Row]:
    sides = [{p["target"]: p for p in d["plans"]} for d in two]
    for target in dict.fromkeys([*sides[0], *sides[1]]):
        yield from _plan(target, two, [side.get(target, {}) for side in sides])


def _plan(target: str, two: Documents, pair: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    part = f"plan {target}"
    yield _row(part, "built by", (f"{p['backend']} {p['backend_version']}" if p else None for p in pair))
    yield _row(part, "kernels", (p.get("kernels") for p in pair), "whole")
    for kind in dict.fromkeys(kind for p in pair for kind in p.get("work", {})):
        yield _row(part, f"matrix work in {kind}", (p.get("work", {}).get(kind) for p in pair), "percent")
    yield _row(part, "nodes not as asked", (len(p["not_honoured"]) if p else None for p in pair), "whole")
    estimates = ((p.get("estimate") or {}).get("estimated_seconds") for p in pair)
    yield _row(part, "estimated, µs", estimates, "microseconds")
    timed = [of_plan(d, target) for d in two]
    yield _row(part, "p50, ms", (t and t["latency"]["p50"] for t in timed), "milliseconds")
    yield _row(part, "rows a second", (t and t["throughput"] for t in timed), "whole")
    yield _row(part, "SHA-256", (p.get("sha256") for p in pair), "digest")


def _graph(two: Documents) -> Iterator[Row]:
    yield _row("rewrites", "nodes before", (d["rewrite"]["nodes_before"] for d in two), "whole")
    yield _row("rewrites", "nodes after", (d["rewrite"]["nodes_after"] for d in two), "whole")
    yield from _both("rewrites", (d["rewrite"]["edits"] for d in two), "whole")


def _precision(two: Documents) -> Iterator[Row]:
    yield from _both("tried", (_tried(d) for d in two))
    layers = ({n["node"]: n["precision"] for n in d["depth"]["nodes"]} for d in two)
    yield from (row for row in _both("layers", layers) if not row["same"])
    yield from _both("calibration", (d["asked"]["calibration"] or {} for d in two))


def _tried(document: Document) -> dict[str, str]:
    tried = document["precision"]["tried"]
    return {t["name"].replace("_", " "): "kept" if t["kept"] else "not kept" for t in tried}


def _search(two: Documents) -> Iterator[Row]:
    found = [d["precision"]["search"] or {} for d in two]
    for key, what in (("floor", "floor"), ("runs", "graphs run"), ("judged_on", "rows"), ("complete", "complete")):
        yield _row("search", what, (s.get(key) for s in found))
    chosen = [s["points"][s["chosen"]] if s and s["chosen"] is not None else {} for s in found]
    yield _row("search", "chosen: SQNR, dB", (point.get("sqnr_db") for point in chosen), "decibel")
    yield _row("search", "chosen: weights", (point.get("weight_bytes") for point in chosen), "size")


def _cost(two: Documents) -> Iterator[Row]:
    for what, key in (
        ("a million, always busy", "per_million"),
        ("a million at the traffic", "per_million_at_traffic"),
    ):
        sides = ({r["subject"]: r[key] for r in (d["cost"] or {"rows": ()})["rows"]} for d in two)
        yield from (row | {"what": f"{row['what']}: {what}"} for row in _both("cost", sides, "money"))


def _asked(two: Documents) -> Iterator[Row]:
    yield from (row for row in _both("spec", (dict(_flat(d["spec"])) for d in two)) if not row["same"])


def _flat(spec: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys of a spec to their values as text."""
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", str(value)


def _time(two: Documents) -> Iterator[Row]:
    yield from _both(_CHANGING, ({s["stage"]: s["seconds"] for s in d["stages"]} for d in two), "seconds")


def _pinned(two: Documents) -> Iterator[Row]:
    yield from _both("pinned inputs", (d["pinned"]["inputs"] for d in two), "digest")
    yield from _both("versions", ({"trtbuild": d["trtbuild"], **d["versions"]} for d in two))


_PARTS = (_verdict, _asked, _accuracy, _sizes, _plans, _graph, _precision, _search, _cost, _time, _pinned)


def render_comparison(found: Mapping[str, Any]) -> str:
    """A comparison as Markdown: what differs, times per stage left out.

    Args:
        found: What ``compare`` returned.
    """
    words = [found[side]["verdict"]["word"] for side in ("a", "b")]
    lines = [f"# {found['a']['model']}: `{found['names'][0]}` (A) and `{found['names'][1]}` (B)"]
    lines.append(f"A: **{words[0]}**, B: **{words[1]}**. {found['differs']} figures differ.")
    for part, rows in groupby(found["rows"], key=lambda row: row["part"]):
        changed = [row for row in rows if not row["same"]]
        if not changed or part == _CHANGING:
            continue
        cells = [
            (
                r["what"],
                _cell(r["a"], r["format"]),
                _cell(r["b"], r["format"]),
                "" if r["ratio"] is None else FORMATS["ratio"](r["ratio"]),
            )
            for r in changed
        ]
        lines += [f"## {part[:1].upper()}{part[1:]}", markdown_table(("", "A", "B", "B over A"), cells)]
    for plan in found["plans"]:
        lines += [f"## Kernels for {plan['target']}", "\n".join(["```", *plan["lines"], "```"])]
    return "\n\n".join(lines) + "\n"


def _cell(value: Any, form: str) -> str:
    if value is None:
        return "none"
    return (FORMATS[form](value) if form else str(value)).replace("\n", "<br>")
