"""The rewrite bench's report, as Markdown."""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from architectures import CONVOLUTIONAL
from contenders import OURS, PEERS, ROUNDS, TOOLS

if TYPE_CHECKING:
    from models import Model
    from rewrite import Row

EQUAL = 2e-5  # of the output's largest magnitude: a rewrite reorders sums and nothing else
VERSIONS = ("trtbuild", "onnxsim", "onnxslim", "onnxruntime", "onnx", "torch", "transformers", "tensorrt_rtx")

INTRODUCTION = """Made by `make bench-rewrite`, the tools in turn on each model; `--fresh` takes all rows in one run.
A kernel is a layer of the finished engine (TensorRT-RTX, SM89, one profile, no GPU): it is not latency. Every subject
is typed by trtbuild in the same way. The models are small, with seeded weights; MiniLM has its own.
"""

Table = dict[str, dict[str, "Row"]]
"""Model to tool to row."""


def render(rows: Iterable[Row], failed: Sequence[Model], precision: str) -> str:
    """The whole report."""
    table: Table = {}
    for row in rows:
        table.setdefault(row.model, {})[row.tool] = row
    versions = ", ".join(f"{p} {_version(p)}" for p in VERSIONS)
    parts = [
        f"# Rewriting beside its peers: engine kernels at {precision.upper()}\n",
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}, {versions}.\n",
        INTRODUCTION,
        f"Rows were taken on {', '.join(sorted({r.taken for by_tool in table.values() for r in by_tool.values()}))}.\n",
        *_summary(table),
        *_kernels(table),
        *_soundness(table, precision),
        *_times(table),
        *_int8(table),
    ]
    if failed:
        parts += ["## Not exported\n", *(f"- {m.name}.{m.export}: {m.error}" for m in failed), ""]
    return "\n".join(parts)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _count(row: Row | None) -> int | None:
    return row.figure("build", "kernels") if row else None


def _computing(row: Row | None) -> int | None:
    """Kernels without the layers that only wait."""
    return row.figure("build", "kernels") - row.figure("build", "sync") if row and _count(row) else None


def _mean(ratios: Sequence[float]) -> str:
    """Geometric mean and how many it is of."""
    if not ratios:
        return "-"
    return f"{math.exp(statistics.fmean(math.log(r) for r in ratios)):.3f} ({len(ratios)})"


def _summary(table: Table) -> list[str]:
    lines = ["## Summary\n", *_against(table, _count)]
    lines += [
        "",
        "The same without the layers that only make one stream wait for another:",
        "",
        *_against(table, _computing),
    ]
    lines += ["", "| figure | value (models) |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in _figures(table)]
    worse = [
        f"{model} {_cell(found[OURS])} for {_cell(found['original'])}"
        for model, found in table.items()
        if (_count(found.get(OURS)) or 0) > (_count(found.get("original")) or math.inf)
    ]
    lines += ["", f"**Reconsider** (more kernels than the original): {'; '.join(worse) or 'none'}."]
    behind = [f"{model} {_cell(found[OURS])}, {_ahead(found)}" for model, found in table.items() if _ahead(found)]
    return [*lines, "", f"**A peer does better**: {'; '.join(behind) or 'nowhere'}.", ""]


def _against(table: Table, measure: Callable[[Row | None], int | None]) -> list[str]:
    """A row a contender: for how many models ours has fewer kernels, as many, more."""
    lines = ["| against | both build | ours fewer | equal | ours more | only ours builds | only it builds |"]
    lines.append("|---" * 7 + "|")
    for tool in [t for t in TOOLS if t != OURS]:
        pairs = [(measure(found.get(OURS)), measure(found.get(tool))) for found in table.values()]
        both = [(a, b) for a, b in pairs if a and b]
        figures = (
            len(both),
            sum(a < b for a, b in both),
            sum(a == b for a, b in both),
            sum(a > b for a, b in both),
            sum(bool(a) and not b for a, b in pairs),
            sum(bool(b) and not a for a, b in pairs),
        )
        lines.append(f"| {tool} | " + " | ".join(str(f) for f in figures) + " |")
    return lines


def _ahead(found: dict[str, Row]) -> str:
    """The peers with fewer kernels than ours."""
    ours = _count(found.get(OURS)) or math.inf
    return ", ".join(f"{t} {_cell(found.get(t))}" for t in PEERS if (_count(found.get(t)) or math.inf) < ours)


def _figures(table: Table) -> list[tuple[str, str]]:
    def ratios(
        measure: Callable[[Row | None], int | None], against: str, suffix: str, *, attention: bool
    ) -> list[float]:
        found = []
        for model, by_tool in table.items():
            ours, theirs = measure(by_tool.get(OURS)), measure(by_tool.get(against))
            convolutional = model.split(".")[0] in CONVOLUTIONAL
            if ours and theirs and model.endswith(suffix) and convolutional is not attention:
                found.append(ours / theirs)
        return found

    taken = []
    for tool in [t for t in TOOLS if t != OURS]:
        every = _mean(ratios(_count, tool, "", attention=True))
        newest = _mean(ratios(_count, tool, ".dynamo23", attention=True))
        taken.append((f"kernels, ours / {tool}, transformers, all exports, geometric mean", every))
        taken.append((f"kernels, ours / {tool}, transformers, opset 23, geometric mean", newest))
    both = _mean(ratios(_computing, "original", "", attention=True))
    taken.append(("the same to the original without signal and wait layers", both))
    taken.append(
        ("kernels, ours / original, convolutional models", _mean(ratios(_count, "original", "", attention=False)))
    )
    taken.append(("ONNX nodes, ours / best peer that builds, geometric mean", _mean(_node_ratios(table))))
    for stage, name in (("simplify", "not proved"), ("prove", "proved by running")):
        pairs = [
            (f[OURS].figure(stage, "seconds"), f["onnxslim"].figure("simplify", "seconds")) for f in table.values()
        ]
        times = [a / b for a, b in pairs if a and b]
        value = f"{statistics.median(times):.2f} ({len(times)})" if times else "-"
        taken.append((f"seconds, ours {name} / onnxslim, median", value))
    return taken


def _node_ratios(table: Table) -> list[float]:
    found = []
    for by_tool in table.values():
        peers = [by_tool[t].figure("simplify", "nodes") for t in PEERS if _count(by_tool.get(t))]
        if peers and _count(by_tool.get(OURS)):
            found.append(by_tool[OURS].figure("simplify", "nodes") / min(peers))
    return found


def _cell(row: Row | None, name: str = "kernels") -> str:
    if row is None:
        return ""
    if name == "nodes":
        return str(row.figure("simplify", "nodes") or "fails")
    waits = row.figure("build", "sync")
    return f"{_count(row)} ({waits})" if waits else str(_count(row) or "no")


def _kernels(table: Table) -> list[str]:
    heads = " | ".join(TOOLS)
    lines = ["## Kernels, and ONNX nodes\n", f"| model | {heads} | fused MHA, original to ours | nodes: {heads} |"]
    lines.append("|---" * (2 * len(TOOLS) + 2) + "|")
    for model, found in table.items():
        counts = " | ".join(_cell(found.get(t)) for t in TOOLS)
        nodes = " | ".join(_cell(found.get(t), "nodes") for t in TOOLS)
        fused = " to ".join(str(found[t].figure("build", "attention")) for t in ("original", OURS) if t in found)
        lines.append(f"| {model} | {counts} | {fused.replace('None', '-')} | {nodes} |")
    lines += ["", "In brackets, how many of them only wait. `no`: it does not build. The reasons:", ""]
    for model, found in table.items():
        said = {t: row.error("build") for t, row in found.items() if not _count(row)}
        for reason in dict.fromkeys(said.values()):
            lines.append(f"- {model}, {', '.join(t for t in said if said[t] == reason)}: {reason}")
    return [*lines, ""]


def _soundness(table: Table, precision: str) -> list[str]:
    lines = ["## FP32 builds, and distance from torch\n"] if precision != "fp32" else ["## Distance from torch\n"]
    lines.append(
        f"Largest difference over the output's largest magnitude, ONNX Runtime, optimisation off; bold above {EQUAL}."
    )
    lines += ["", f"| model | FP32 builds: original | ours | {' | '.join(TOOLS)} |", "|---" * (len(TOOLS) + 3) + "|"]
    reasons: dict[str, dict[str, list[str]]] = {}
    for model, found in table.items():
        builds = []
        for tool in ("original", OURS):
            count = found[tool].figure("fp32", "kernels") if tool in found else None
            builds.append(f"yes, {count}" if count else "no")
            if tool in found and not count:
                reasons.setdefault(found[tool].error("fp32"), {}).setdefault(model, []).append(tool)
        lines.append(f"| {model} | {' | '.join(builds)} | {' | '.join(_distance(found.get(t)) for t in TOOLS)} |")
    lines += ["", *(f"- {_who(models)}: {reason}" for reason, models in reasons.items())]
    return [*lines, ""]


def _who(models: dict[str, list[str]]) -> str:
    """Models, with the tool in brackets where it is not for both."""
    return ", ".join(m if len(tools) > 1 else f"{m} ({tools[0]})" for m, tools in models.items())


def _distance(row: Row | None) -> str:
    worst: Any = row.figure("check", "worst") if row else None
    if worst is None:
        return "does not run"
    return f"{worst:.1e}" if worst <= EQUAL else f"**{worst:.1e}**"


def _times(table: Table) -> list[str]:
    tools = [t for t in TOOLS if t != "original"]
    lines = [f"## Seconds, median of {ROUNDS} in one process; ours proved: one run\n"]
    lines += [f"| model | {' | '.join(tools)} | ours, proved |", "|---" * (len(tools) + 2) + "|"]
    for model, found in table.items():
        values = [found[t].figure("simplify", "seconds") if t in found else None for t in tools]
        values.append(found[OURS].figure("prove", "seconds") if OURS in found else None)
        lines.append(f"| {model} | {' | '.join('-' if v is None else f'{v:.3f}' for v in values)} |")
    return [*lines, ""]


def _int8(table: Table) -> list[str]:
    lines = ["## MiniLM at INT8: minmax on 64 real sentences\n"]
    lines += ["| model | tool | kernels | Q/DQ nodes |", "|---|---|---|---|"]
    for model, found in table.items():
        for tool, row in found.items():
            if "int8" in row.found:
                count = row.figure("int8", "kernels") or row.error("int8")
                lines.append(f"| {model} | {tool} | {count} | {row.figure('int8', 'qdq') or '-'} |")
    return [*lines, ""] if len(lines) > 3 else []
