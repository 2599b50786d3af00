"""One short function a stage: what its key in the store is made of, and its call. ``pipeline`` knows their order."""

from __future__ import annotations

from trtbuild.recipes.engines import bench, compile, package, verify  # noqa: A004  the stage's name
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
    "hold_buildable",
    "package",
    "rewrite",
    "search",
    "verify",
]
