"""Reads the finished engine's kernels, and says what the matrix work really runs in.

TensorRT-RTX writes them into its verbose build log; on a GPU the engine inspector gives the same as JSON, for TensorRT
10 and 11 too. Both become one ``EngineLayers``.
"""

from __future__ import annotations

from trtbuild.engine.layers.inspector import from_inspector
from trtbuild.engine.layers.log import from_log
from trtbuild.engine.layers.precision import precision_share
from trtbuild.engine.layers.work import weighed

__all__ = ["from_inspector", "from_log", "precision_share", "weighed"]
