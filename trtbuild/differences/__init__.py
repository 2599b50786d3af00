"""What changed between two plans or two ONNX files, in words.

``graphs.py`` compares ONNX files, with the nodes that ``matching.py`` pairs and the values that ``constants.py``
reads; ``plans.py`` compares plans, with the kernels that ``kernels.py`` holds together; ``words.py`` says what was
found.
"""

from __future__ import annotations

from trtbuild.differences.graphs import diff_onnx
from trtbuild.differences.plans import PlanFile, diff_plans
from trtbuild.differences.words import headline, in_words

__all__ = ["PlanFile", "diff_onnx", "diff_plans", "headline", "in_words"]
