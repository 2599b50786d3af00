"""Smooths what nothing can take up for free: one Mul on the quantised branch of a normalisation or an activation.

Where a residual reads the tensor too, or GELU stands before it, the factor has no constant to go into. A Mul by 1 / s
in front of the quantised readers alone is a pointwise step behind a pointwise step, which TensorRT joins into one
kernel. Factors and source: as ``smoothing``.
"""

from __future__ import annotations

from trtbuild.calibration.equalization.transforms.smoothing import candidates

OPENS = ("LayerNormalization", "RMSNormalization", "Gelu", "HardSwish", "Mul")
"""Operators behind whose result a Mul may be put."""

__all__ = ["OPENS", "candidates"]
