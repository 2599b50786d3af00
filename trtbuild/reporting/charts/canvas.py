"""The one place that knows matplotlib's figures and how their SVG becomes a part of a page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

WIDTH = 5.4
"""Inches: at 72 points an inch and the page's scale the text is read at the width of a phone."""

_NAMES = (
    "ink", "muted", "grid", "accent", "good", "bad", "warn", "fp32", "tf32", "fp16", "bf16", "int8", "fp8",
    "int8_weights", "int4", "unknown",
)  # fmt: skip
COLOURS: Mapping[str, str] = {name: f"#fe00{place:02x}" for place, name in enumerate(_NAMES)}
"""Name of a CSS variable of the page to the colour that stands for it until the SVG is written."""

_STYLE = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 10, "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "none", "figure.facecolor": "none",
    "text.color": COLOURS["ink"], "axes.labelcolor": COLOURS["muted"], "axes.titlecolor": COLOURS["ink"],
    "axes.edgecolor": COLOURS["grid"], "xtick.color": COLOURS["muted"], "ytick.color": COLOURS["muted"],
    "axes.grid": False, "grid.color": COLOURS["grid"], "legend.frameon": False, "legend.fontsize": 9.5,
    "figure.constrained_layout.use": True, "axes.axisbelow": True,
}  # fmt: skip


def colour(name: str) -> str:
    """The stand-in for a precision's colour or another of the page; that of ``unknown`` for words it has not."""
    return COLOURS.get(name, COLOURS["unknown"])


def svg(draw: Callable[[Any, Mapping[str, Any]], str], document: Mapping[str, Any], name: str) -> str:
    """Runs a chart's ``draw`` on a new figure; its SVG for a page, or nothing where ``draw`` said nothing.

    Args:
        draw: Puts the chart on the figure, and says in a sentence what it shows.
        document: What the chart is made from.
        name: Set before every id of the SVG: ids are unique in a page.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH, 3.0))
        said = draw(figure, document)
        if not said:
            return ""
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inline(text.getvalue(), name, said)


def _inline(text: str, name: str, said: str) -> str:
    """The drawn file as an element of a page."""
    text = text[text.index("<svg") :]
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    text = f'<svg class="chart" role="img" aria-label="{escape(said)}" {box[0] if box else ""}>{body}'
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{name}-", text).replace("xlink:href", "href")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--font)", text)
    return re.sub(r"#fe00([0-9a-f]{2})", lambda found: f"var(--{_NAMES[int(found[1], 16)]})", text)
