"""Precision, work and error of the matrix nodes along the depth of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtbuild.reporting import formats
from trtbuild.reporting.charts.canvas import COLOURS, WIDTH, colour

_NAMED = 10  # nodes up to which each has its name below


def draw(figure: Any, document: Mapping[str, Any]) -> str:
    """Strips of precision, in the graph and in each plan; bars of work; the error, where it was measured."""
    nodes: Sequence[Mapping[str, Any]] = document["depth"]["nodes"]
    if not nodes:
        return ""
    strips = {"graph": [n["precision"] for n in nodes]}
    strips |= {p["target"]: [n["runs_in"].get(p["target"], "unknown") for n in nodes] for p in document["plans"]}
    measured = any(n["sqnr_db"] is not None for n in nodes)
    heights = [0.2 * len(strips) + 0.2, 0.9] + ([1.1] if measured else [])
    named = len(nodes) <= _NAMED
    figure.set_size_inches(WIDTH, sum(heights) + 0.75 + (0.45 if named else 0.0))
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _strips(panels[0], strips)
    _work(panels[1], nodes)
    if measured:
        _error(panels[2], nodes)
    last = panels[-1]
    last.set_xlim(-0.6, len(nodes) - 0.4)
    if named:
        last.set_xticks(range(len(nodes)), [formats.shortened(n["node"], 16) for n in nodes], rotation=20, ha="right")
    else:
        last.set_xticks([])
        last.set_xlabel("matrix nodes, from the input to the output")
    return "Precision, work and error of the matrix nodes along the depth of the network"


def _strips(axes: Any, strips: Mapping[str, Sequence[str]]) -> None:
    words = list(dict.fromkeys(word for strip in strips.values() for word in strip))
    for row, strip in enumerate(strips.values()):
        for word in words:
            at = [(place - 0.46, 0.92) for place, found in enumerate(strip) if found == word]
            axes.broken_barh(at, (row - 0.4, 0.8), color=colour(word), label=word if row == 0 or at else "")
    axes.set_yticks(range(len(strips)), [formats.shortened(name, 16) for name in strips])
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[["bottom", "left"]].set_visible(False)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(
        [handles[w] for w in words if w in handles], [w for w in words if w in handles], loc="lower left",
        bbox_to_anchor=(-0.01, 1.0), ncols=7, handlelength=0.9, handleheight=0.9, columnspacing=1.1, borderpad=0.1,
    )  # fmt: skip


def _work(axes: Any, nodes: Sequence[Mapping[str, Any]]) -> None:
    axes.bar(range(len(nodes)), [(n["macs"] or 0) / 1e6 for n in nodes], width=0.8,
             color=[colour(n["precision"]) for n in nodes])  # fmt: skip
    axes.set_title("work: million multiply-accumulates", color=COLOURS["muted"], fontsize=9.5)
    axes.locator_params(axis="y", nbins=3)


def _error(axes: Any, nodes: Sequence[Mapping[str, Any]]) -> None:
    known = [(place, n) for place, n in enumerate(nodes) if n["sqnr_db"] is not None]
    axes.scatter([p for p, _ in known], [n["sqnr_db"] for _, n in known], s=16,
                 color=[colour(n["precision"]) for _, n in known])  # fmt: skip
    axes.set_title("error: SQNR of the output, this node alone lowered, dB",
                   color=COLOURS["muted"], fontsize=9.5)  # fmt: skip
    axes.grid(axis="y")
    axes.locator_params(axis="y", nbins=4)
