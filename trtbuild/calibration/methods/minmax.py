"""Keeps the largest |x| seen: clips nothing.

Source: the definition; TensorRT's IInt8MinMaxCalibrator.
"""

from __future__ import annotations

from trtbuild.calibration.histogram import Histogram


def threshold(histogram: Histogram) -> float:
    """Largest |x| to keep, in the tensor's unit."""
    return histogram.amax
