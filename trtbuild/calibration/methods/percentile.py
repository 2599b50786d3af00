"""Keeps 99.99 % of the values and clips the rest.

Source: the definition, over |x|; the percentile is that of the pytorch-quantization toolkit's default.
"""

from __future__ import annotations

from trtbuild.calibration.histogram import Histogram

KEPT = 0.9999


def threshold(histogram: Histogram) -> float:
    """Largest |x| to keep, in the tensor's unit."""
    import numpy as np

    counts = histogram.seen()
    reached = int(np.searchsorted(counts.cumsum(), KEPT * counts.sum()))
    return min((reached + 1) * histogram.width, histogram.amax)
