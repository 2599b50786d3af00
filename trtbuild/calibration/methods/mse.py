"""Makes the smallest squared error: weighs what clipping loses against what a finer scale wins.

For each candidate threshold a, scale = a / 127, and the error of bin centre c is
(c - scale * min(round(c / scale), 127))^2 times the bin's count. The candidate with the least sum wins.

Source: least squares over the histogram; candidates in steps of 1/200 of the largest value.
"""

from __future__ import annotations

from trtbuild.calibration.histogram import Histogram

CANDIDATES = 200


def threshold(histogram: Histogram) -> float:
    """Largest |x| to keep, in the tensor's unit."""
    import numpy as np

    counts = histogram.seen().astype(np.float64)
    centres = (np.arange(len(counts)) + 0.5) * histogram.width
    thresholds = histogram.amax * np.arange(CANDIDATES // 20, CANDIDATES + 1) / CANDIDATES
    scales = thresholds[:, None] / 127
    errors = centres - scales * np.minimum(np.round(centres / scales), 127)
    return float(thresholds[int((errors**2 @ counts).argmin())])
