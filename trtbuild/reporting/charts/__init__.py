"""Charts of a report as inline SVG, drawn by matplotlib from the document alone; one file a chart.

Their colours are CSS variables of the page, so they follow its light and dark scheme; their text stays text.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_all(document: Mapping[str, Any], *, prefix: str = "") -> dict[str, str]:
    """Chart name to SVG; a chart that has nothing to show is left out, all of them where matplotlib is missing.

    Args:
        document: A report document.
        prefix: Set before every id, so that the charts of two reports can stand on one page.
    """
    if not can_draw():
        return {}
    from trtbuild.reporting.charts import depth, front, ranges, sizes, speed, stages, tuning
    from trtbuild.reporting.charts.canvas import svg

    modules = {
        "sizes": sizes, "depth": depth, "ranges": ranges, "front": front, "speed": speed, "tuning": tuning,
        "stages": stages,
    }  # fmt: skip
    drawn = {name: svg(module.draw, document, f"{prefix}{name}") for name, module in modules.items()}
    return {name: text for name, text in drawn.items() if text}


__all__ = ["can_draw", "draw_all"]
