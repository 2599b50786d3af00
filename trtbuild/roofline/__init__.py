"""Estimates from a target's datasheet: nobody has run anything.

``rates.py`` holds a target's two limits, ``nodes.py`` what the matrix nodes of a graph do.
"""

from __future__ import annotations

from trtbuild.roofline.nodes import NodeWork, matrix_work
from trtbuild.roofline.rates import Limit, Roofline, roofline

__all__ = ["Limit", "NodeWork", "Roofline", "matrix_work", "roofline"]
