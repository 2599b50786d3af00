"""Makes the smallest squared error: weighs what clipping loses against what a finer scale wins.

For each candidate threshold a, scale = a / 127, and the error of x is (x - scale * min(round(x / scale), 127))^2. A
bin's values are taken as spread evenly over it, and the error is integrated over the bin: exact where a bin is wider
than a step too, which its centre alone is not. The last bin's values are taken as all at the largest one, which is
known: so a constant or a saturated tensor (tanh, ReLU6) keeps its value exactly.

Candidates go from the largest value down to one bin, eight an octave; then closely over half an octave to each side of
the best; then more closely still. On smooth distributions the error is a sum of two convex functions of a (rounding,
a^2 / (12 * 127^2), and clipping), so there is one valley to go down into. A peak in the distribution, as the smallest
value of a GELU, makes smaller valleys in it, one wherever the peak is a multiple of the scale: hence the second search.
On the values themselves the result was within 1 % of the least error that brute force finds.

The sign is not known: that INT8 reaches -128 steps, one further than 127, is left out.

Source: least squares over the histogram.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trtbuild.calibration.counting import BINS
from trtbuild.calibration.histogram import Histogram

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STEPS = 127
_OCTAVES = int(math.log2(BINS))
_SEARCHES = ((0.5, 384), (0.002, 16))  # octaves to each side of the best so far, and candidates
_BLOCK = 1 << 15  # candidates times edges at a time: what they need stays in the processor's cache


def threshold(histogram: Histogram) -> float:
    """Largest |x| to keep, in the tensor's unit."""
    import numpy as np

    counts = histogram.seen().astype(np.float64)
    largest = histogram.amax / histogram.width  # in bins, as all below: a power of two changes no digit
    candidates = largest * 2.0 ** (-np.arange(8 * _OCTAVES) / 8)
    best = candidates[squared_errors(counts, largest, candidates).argmin()]
    for octaves, count in _SEARCHES:
        candidates = np.minimum(best * 2.0 ** np.linspace(octaves, -octaves, count + 1), largest)
        best = candidates[squared_errors(counts, largest, candidates).argmin()]
    return min(float(best) * histogram.width, histogram.amax)


def squared_errors(counts: NDArray[np.float64], largest: float, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the squared errors at each threshold, in squares of a bin's width.

    The integral of the squared error from 0 to x, with r = min(round(x / scale), 127) and f = x / scale - r, is
    scale^3 * (r / 12 + f^3 / 3); a bin's error is its count times the difference between its edges. Summed up by
    edges, an edge weighs the count below it less the count above, and most edges of a sparse histogram weigh nothing.

    Args:
        counts: Shape ``[bins]``: the histogram, up to the bin of the largest value.
        largest: Largest |x| seen, in bins.
        thresholds: Shape ``[candidates]``, in bins.

    Returns:
        Shape ``[candidates]``.
    """
    import numpy as np

    top = len(counts) - 1
    weights = -np.diff(counts[:top], prepend=0.0, append=0.0)
    edges = np.flatnonzero(weights)
    weights = weights[edges]
    scales = thresholds / STEPS
    found: NDArray[np.float64] = counts[top] * (largest - scales * np.minimum(np.rint(largest / scales), STEPS)) ** 2
    rows = max(1, _BLOCK // max(1, len(edges)))
    for start in range(0, len(scales), rows):
        scale = scales[start : start + rows]
        steps = edges / scale[:, None]
        rounded = np.minimum(np.rint(steps), STEPS)
        rest = steps - rounded
        found[start : start + rows] += ((rest * rest * rest / 3 + rounded / 12) @ weights) * scale**3
    return found
