"""Latency against throughput of the settings that were tried on a live server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbuild.reporting.charts.canvas import COLOURS, WIDTH


def draw(figure: Any, document: Mapping[str, Any]) -> str:
    """A line a setting through its numbers of threads; the winner in colour, the limit across."""
    tuning = document.get("tuning")
    if not tuning or not tuning["rows"]:
        return ""
    figure.set_size_inches(WIDTH, 3.2)
    axes = figure.subplots()
    for setting in dict.fromkeys(row["setting"] for row in tuning["rows"]):
        own = sorted((r for r in tuning["rows"] if r["setting"] == setting), key=lambda r: r["concurrency"])
        best = own[0]["best"]
        axes.plot(
            [r["throughput"] for r in own], [r["p99_ms"] for r in own], marker="o", markersize=4,
            color=COLOURS["accent" if best else "grid"], zorder=3 if best else 2, label=setting if best else None,
        )  # fmt: skip
    axes.axhline(tuning["p99_ms"], color=COLOURS["bad"], linewidth=1, label="limit")
    axes.set_yscale("log")
    axes.set_title("p99, ms, over requests a second", color=COLOURS["muted"], fontsize=9.5)
    axes.set_xlabel("requests a second")
    axes.legend(labelcolor=COLOURS["ink"])
    return "Latency against throughput of each setting that was tried"
