"""One short function a stage: what its key in the store is made of, and its call. ``pipeline`` knows their order."""

from __future__ import annotations

from trtbuild.recipes.engines import (
    bench,
    compile,  # noqa: A004  the stage's name
    fp16_siblings,
    package,
    speed_gate,
    verify,
)
from trtbuild.recipes.graph import export, hold_buildable, rewrite
from trtbuild.recipes.precision import assign_precision, calibrate, calibration_data, equalize, search

__all__ = [
    "assign_precision",
    "bench",
    "calibrate",
    "calibration_data",
    "compile",
    "equalize",
    "export",
    "fp16_siblings",
    "hold_buildable",
    "package",
    "rewrite",
    "search",
    "speed_gate",
    "verify",
]
