"""Tries the others and takes the one whose INT8 graph is nearest to FP32 on calibration rows kept apart.

Every other method's thresholds are made from one part of the calibration rows; the graph is quantised with each, and
run on the other part. The highest SQNR of the worst output wins. What chose is not held-out data for the proof: the
rows that judge count as calibration rows too.

Source: entropy is often worse than min-max or least squares, and which is best depends on the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trtbuild.artifacts import CalibrationTable

CANDIDATES = ("mse", "percentile", "entropy", "minmax")
"""In the order that breaks a tie."""


def choose(
    table: Callable[[str], CalibrationTable], judge: Callable[[CalibrationTable], float], rows: int
) -> CalibrationTable:
    """The best candidate's table, with a note that says why.

    Args:
        table: The table of a method.
        judge: SQNR in dB of the graph that a table quantises, on the rows kept apart.
        rows: How many rows judge.
    """
    from dataclasses import replace

    tables = {name: table(name) for name in CANDIDATES}
    found = {name: judge(each) for name, each in tables.items()}
    best = max(CANDIDATES, key=lambda name: found[name])
    others = ", ".join(f"{name} {found[name]:.1f}" for name in CANDIDATES if name != best)
    note = f"auto chose {best}: {found[best]:.1f} dB SQNR on {rows} rows kept apart, against {others}"
    return replace(tables[best], notes=(*tables[best].notes, note))
