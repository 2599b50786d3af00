"""How large the model's file is after each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbuild.reporting import formats
from trtbuild.reporting.charts.canvas import COLOURS, WIDTH


def draw(figure: Any, document: Mapping[str, Any]) -> str:
    """A bar a file."""
    files = document["sizes"]
    figure.set_size_inches(WIDTH, 0.5 + 0.28 * len(files))
    axes = figure.subplots()
    names = [formats.shortened(name) for name in files]
    places = range(len(names))
    colours = [COLOURS["accent"] if name.startswith("plan ") else COLOURS["muted"] for name in files]
    bars = axes.barh(places, list(files.values()), color=colours, height=0.62)
    axes.bar_label(bars, [formats.size(value) for value in files.values()], padding=4, fontsize=9.5)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, max(files.values()) * 1.2)
    axes.set_xticks([])
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(length=0)
    return "Size of the model's file after each step"
