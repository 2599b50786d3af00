"""Latency percentiles and throughput over the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtbuild.reporting import formats
from trtbuild.reporting.charts.canvas import COLOURS, WIDTH

_SUBJECTS = ("muted", "int8", "fp16", "int8_weights", "bf16", "int4", "fp8", "good")
"""Colours by turns."""


def draw(figure: Any, document: Mapping[str, Any]) -> str:
    """Two panels over the rows of a call: p50 with a bar up to p99, and rows a second."""
    timings = [t for t in (document["benchmark"] or {"timings": ()})["timings"] if t["axis"] is None]
    if not timings:
        return ""
    figure.set_size_inches(WIDTH, 4.6)
    latency, throughput = figure.subplots(2, 1, sharex=True)
    for number, subject in enumerate(dict.fromkeys(t["subject"] for t in timings)):
        own = sorted((t for t in timings if t["subject"] == subject), key=_rows)
        shown = COLOURS[_SUBJECTS[number % len(_SUBJECTS)]]
        rows = [_rows(t) for t in own]
        p50 = [t["latency"]["p50"] for t in own]
        above = [t["latency"]["p99"] - t["latency"]["p50"] for t in own]
        latency.errorbar(rows, p50, yerr=[[0.0] * len(own), above], color=shown, marker="o", markersize=4, capsize=3,
                         label=formats.shortened(subject, 40))  # fmt: skip
        throughput.plot(rows, [t["throughput"] for t in own], color=shown, marker="o", markersize=4)
    _finish(latency, throughput, sorted({_rows(t) for t in timings}))
    return "Latency and throughput over the rows of a call"


def _finish(latency: Any, throughput: Any, rows: Sequence[int]) -> None:
    latency.set_title("latency of a call, ms: p50, and up to p99", color=COLOURS["muted"], fontsize=9.5)
    throughput.set_title("rows a second, at the median", color=COLOURS["muted"], fontsize=9.5)
    throughput.set_xlabel("rows of a call")
    for axes in (latency, throughput):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid()
        _decades(axes.yaxis)
    throughput.set_xticks(rows, [str(row) for row in rows])
    throughput.minorticks_off()
    latency.legend(labelcolor=COLOURS["ink"])


def _decades(axis: Any) -> None:
    """Marks at 1, 2 and 5 of each power of ten, in plain digits."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=7))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.6g}"))


def _rows(timing: Mapping[str, Any]) -> int:
    """Size of the first axis of the first input."""
    return int(next(iter(timing["shapes"].values()), (1,))[0])
