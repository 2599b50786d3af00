"""Loses the least information: the threshold with the smallest KL divergence between the values and their INT8 form.

For each candidate i, P is the histogram's first i bins with everything above folded into the last; Q is P at 128
levels, each level's count spread evenly over its bins that are not empty. The candidate with the smallest
KL(P, Q) = sum p log(p / q) wins, and its threshold is (i + 1/2) bins.

A candidate that keeps 128 filled bins or fewer is skipped: 128 levels stand for those exactly, the divergence is zero
whatever is clipped, and an input with few distinct values (8-bit images, one-hot) would lose most of its range.

Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017, slides 28 to 33; 2,048 bins or more of the range seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtbuild.calibration.histogram import Histogram

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVELS = 128


def threshold(histogram: Histogram) -> float:
    """Largest |x| to keep, in the tensor's unit."""
    import numpy as np

    counts = histogram.seen().astype(np.float64)
    if len(counts) <= LEVELS:
        return histogram.amax
    counts[0] = counts[1]  # exact zeros lose nothing at any scale; a ReLU's would drown the rest
    filled = (counts > 0).cumsum()  # filled[i]: bins that are not empty among the first i + 1
    above = counts[::-1].cumsum()[::-1]  # above[i]: all that lies in bin i and beyond
    best, best_divergence = len(counts), np.inf
    first = int(np.searchsorted(filled, LEVELS, side="right")) + 1
    for candidate in range(first, len(counts) + 1):
        kept = counts[:candidate].copy()
        kept[-1] += above[candidate] if candidate < len(counts) else 0.0
        divergence = _divergence(kept, counts[:candidate])
        if divergence < best_divergence:
            best, best_divergence = candidate, divergence
    return min((best + 0.5) * histogram.width, histogram.amax)


def _divergence(p: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """KL(P, Q) with Q made of ``values`` at 128 levels; infinite where Q has nothing and P has."""
    import numpy as np

    starts = (np.arange(LEVELS) * len(p)) // LEVELS
    filled = values > 0
    sums = np.add.reduceat(values, starts)
    used = np.add.reduceat(filled.astype(np.float64), starts)
    levels = np.divide(sums, used, out=np.zeros_like(sums), where=used > 0)
    q = np.repeat(levels, np.diff(np.append(starts, len(p)))) * filled
    total_p, total_q = p.sum(), q.sum()
    if total_p == 0 or total_q == 0:
        return float(np.inf)
    there = p > 0
    if (q[there] == 0).any():  # what lies above was folded into a bin that is empty in Q: nothing stands for it
        return float(np.inf)
    ratio = (p[there] / total_p) / (q[there] / total_q)
    return float((p[there] / total_p * np.log(ratio)).sum())
