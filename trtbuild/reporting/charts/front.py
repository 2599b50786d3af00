"""Accuracy against estimated time: the front that a search found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtbuild.reporting.charts.canvas import COLOURS, WIDTH


def draw(figure: Any, document: Mapping[str, Any]) -> str:
    """A point a graph: filled where its SQNR was measured, hollow where it was predicted; a ring round the chosen."""
    search = document["precision"]["search"]
    if not search or not search["points"]:
        return ""
    figure.set_size_inches(WIDTH, 3.1)
    axes = figure.subplots()
    points = search["points"]
    target = next(iter(points[0]["seconds"]))
    at = [_place(point, target) for point in points]
    axes.plot(*zip(*at, strict=True), color=COLOURS["grid"], linewidth=1, zorder=1)
    measured = [p["sqnr_db"] is not None for p in points]
    for word, name, holds in (("measured, holds the floor", "good", True), ("measured, below the floor", "bad", False)):
        known = zip(at, points, measured, strict=True)
        _dots(axes, [xy for xy, p, m in known if m and bool(p["holds"]) is holds], word, color=COLOURS[name], s=30)
    hollow = {"facecolors": "none", "edgecolors": COLOURS["muted"], "s": 22}
    _dots(axes, [xy for xy, m in zip(at, measured, strict=True) if not m], "predicted", **hollow)
    if search["chosen"] is not None:
        ring = {"facecolors": "none", "edgecolors": COLOURS["ink"], "linewidths": 1.6, "s": 150}
        _dots(axes, [at[search["chosen"]]], "chosen", **ring)
    axes.set_xlabel(f"time of the matrix work on {target}, µs: an estimate")
    axes.set_ylabel("SQNR, dB")
    axes.grid()
    axes.legend(loc="lower right")
    return "Accuracy against estimated time of the graphs that the search found"


def _place(point: Mapping[str, Any], target: str) -> tuple[float, float]:
    """Microseconds, and dB: as measured, or as predicted where the graph was not run."""
    level = point["predicted_db"] if point["sqnr_db"] is None else point["sqnr_db"]
    return point["seconds"][target] * 1e6, level


def _dots(axes: Any, at: Sequence[tuple[float, float]], label: str, **style: Any) -> None:
    if at:
        axes.scatter(*zip(*at, strict=True), label=label, zorder=3, **style)
