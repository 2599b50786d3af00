"""Estimates from a target's datasheet: nobody has run anything.

``rates.py`` holds a target's two limits, ``nodes.py`` what the matrix nodes of a graph do. ``kernels.py`` estimates a
finished plan, ``graphs.py`` an ONNX graph before there is one, by the parts that ``parts.py`` cuts it into. Launches
are left out, for no source gives their time: so all of them are too low, and rank choices.
"""

from __future__ import annotations

from trtbuild.roofline.graphs import PRECISIONS, graph_estimate, graph_estimates, override_share
from trtbuild.roofline.kernels import plan_estimate
from trtbuild.roofline.nodes import NodeWork, matrix_work
from trtbuild.roofline.rates import Limit, Roofline, roofline

__all__ = [
    "PRECISIONS",
    "Limit",
    "NodeWork",
    "Roofline",
    "graph_estimate",
    "graph_estimates",
    "matrix_work",
    "override_share",
    "plan_estimate",
    "roofline",
]
