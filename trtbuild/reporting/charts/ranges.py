"""Histograms of the tensors that the threshold fits worst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbuild.reporting import formats
from trtbuild.reporting.charts.canvas import COLOURS, WIDTH


def draw(figure: Any, document: Mapping[str, Any]) -> str:
    """A histogram of |x| a tensor, in counts on a logarithmic scale; what the threshold clips in another colour."""
    worst = (document["ranges"] or {"worst": ()})["worst"]
    if not worst:
        return ""
    rows = -(-len(worst) // 2)
    figure.set_size_inches(WIDTH, 0.3 + 1.15 * rows)
    panels = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes, tensor in zip(panels, worst, strict=False):
        _histogram(axes, tensor)
    for axes in panels[len(worst) :]:
        axes.set_visible(False)
    return "Histograms of the tensors that the threshold fits worst"


def _histogram(axes: Any, tensor: Mapping[str, Any]) -> None:
    width, counts = tensor["bin_width"], tensor["histogram"]
    left = [place * width for place in range(len(counts))]
    clips = bool(tensor["clipped"])
    kept = [COLOURS["bad"] if clips and edge >= tensor["threshold"] else COLOURS["accent"] for edge in left]
    axes.bar(left, counts, width=width, align="edge", color=kept)
    axes.axvline(tensor["threshold"], color=COLOURS["ink"], linewidth=1.2)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set_title(formats.shortened(tensor["tensor"], 30), fontsize=9.5)
    axes.set_yticks([])
    axes.minorticks_off()
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=4)
