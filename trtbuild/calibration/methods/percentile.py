"""Keeps 99.99 % of the values and clips the rest.

The threshold is the upper edge of the first bin up to which that share of the values lies: it clips no more than
asked for, and keeps at most one bin (1 / 2,048 of the largest value) more than the exact percentile.

Source: the definition, over |x|, zeros included; 99.99 is the default of NVIDIA's pytorch-quantization toolkit.
"""

from __future__ import annotations

import math
from fractions import Fraction

from trtbuild.calibration.histogram import Histogram
from trtbuild.errors import UsageError

PERCENTILE = 99.99


def threshold(histogram: Histogram, percentile: float = PERCENTILE) -> float:
    """Largest |x| to keep, in the tensor's unit.

    Args:
        histogram: The tensor's |x|.
        percentile: Share of the values to keep, in per cent: above 0, at most 100.

    Raises:
        UsageError: There is no such percentile.
    """
    if not 0 < percentile <= 100:
        raise UsageError(
            f"there is no {percentile:g}th percentile", place="calibration", hint="above 0 and at most 100, as 99.99"
        )
    counts = histogram.seen()
    # as a fraction of the decimal number that was written: 99.99 % of 10,000 is 9,999, and not one more or less
    wanted = math.ceil(Fraction(str(percentile)) * int(counts.sum()) / 100)
    reached = int(counts.cumsum().searchsorted(wanted))
    return min((reached + 1) * histogram.width, histogram.amax)
