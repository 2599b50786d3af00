"""What this run spent on each stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbuild.reporting import formats
from trtbuild.reporting.charts.canvas import COLOURS, WIDTH


def draw(figure: Any, document: Mapping[str, Any]) -> str:
    """A bar a stage; those that the store had already in another colour."""
    stages = document["stages"]
    if not stages:
        return ""
    figure.set_size_inches(WIDTH, 0.5 + 0.26 * len(stages))
    axes = figure.subplots()
    places = range(len(stages))
    colours = [COLOURS["grid"] if s["hit"] else COLOURS["accent"] for s in stages]
    bars = axes.barh(places, [s["seconds"] for s in stages], color=colours, height=0.62)
    words = [formats.seconds(s["seconds"]) + (" s, kept" if s["hit"] else " s") for s in stages]
    axes.bar_label(bars, words, padding=4, fontsize=9.5)
    axes.set_yticks(places, [formats.shortened(s["stage"], 30) for s in stages])
    axes.invert_yaxis()
    axes.set_xlim(0, max(0.01, *(s["seconds"] for s in stages)) * 1.25)
    axes.set_xticks([])
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(length=0)
    return "Time that this run spent on each stage"
