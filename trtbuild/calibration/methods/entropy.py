"""Loses the least information: the threshold with the smallest KL divergence between the values and their INT8 form.

For each candidate i, P is the histogram's first i bins with everything above folded into the last one. Q is made of
the same i bins before the folding: their counts at 128 levels, level k over the bins from ``k * i // 128`` to
``(k + 1) * i // 128``, each level's count spread evenly over those of its bins that are not empty. The candidate with
the smallest KL(P, Q) = sum p log(p / q) wins, and its threshold is (i + 1/2) bins.

This is TensorRT's entropy calibration as it was shown in public. Where it departs from that, and why:

- Every bin up to the one of the largest value is searched: 2,049 to 4,096 of them, where TensorRT has 2,048. To rebin
  to 2,048 would split counts that are known exactly.
- i goes up to all bins, where nothing is folded. The talk stops one short; public caches have it: 3c010a14 is
  2,048.5 bins of 2,048 over [0, 1].
- A candidate that keeps 128 filled bins or fewer is skipped: 128 levels stand for those exactly, the divergence is
  (nearly) zero whatever is clipped, and an input with few distinct values (8-bit images, one-hot) would lose most of
  its range. So i begins at 129, not at 128.
- The first bin counts as much as the second, as in NVIDIA's pytorch-quantization: exact zeros lose nothing at any
  scale, and a ReLU's would drown the rest.
- Where Q has nothing and P has, the divergence is infinite and the candidate loses; the talk does not say.
- Among candidates that differ by less than rounding, the one that clips least wins; the talk would take the first.
- The threshold is at most the largest value seen. TensorRT's may lie half a bin above it.

Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017, slides 28 to 33.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtbuild.calibration.histogram import Histogram

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVELS = 128
_LEVEL_BITS = 7  # 2 ** 7 levels
TIE = 1e-12  # nats: candidates nearer than this differ by rounding only
_BLOCK = 256  # candidates at a time: what they need stays in the processor's cache


def threshold(histogram: Histogram) -> float:
    """Largest |x| to keep, in the tensor's unit."""
    import numpy as np

    counts = histogram.seen().astype(np.float64)
    if len(counts) <= LEVELS:
        return histogram.amax
    counts[0] = counts[1]
    filled = (counts > 0).cumsum()  # filled[i]: bins that are not empty among the first i + 1
    first = int(np.searchsorted(filled, LEVELS, side="right")) + 1
    candidates = np.arange(first, len(counts) + 1)
    found = divergences(counts, candidates)
    if not np.isfinite(found).any():
        return histogram.amax
    best = candidates[np.flatnonzero(found <= found.min() + TIE)[-1]]
    return min((float(best) + 0.5) * histogram.width, histogram.amax)


def divergences(counts: NDArray[np.float64], candidates: NDArray[np.int64]) -> NDArray[np.float64]:
    """KL(P, Q) of every candidate, in nats; infinite where Q has nothing and P has.

    With N values in all, C of them below bin i, and A = N - C folded into the last bin, whose level has mean m,

        KL = (sum p log p - sum over levels of S log(S / F) - A log m) / N + log(C / N)

    where p are the folded counts and S and F a level's count and its filled bins: all of it differences of running
    sums, so a candidate costs its 128 levels and not its bins.

    Args:
        counts: Shape ``[bins]``: the histogram.
        candidates: How many bins to keep, each at least 128 and at most ``len(counts)``.

    Returns:
        Shape ``[len(candidates)]``.
    """
    import numpy as np

    below = np.concatenate(([0.0], counts.cumsum()))  # below[i]: the values in the first i bins
    filled = np.concatenate(([0.0], (counts > 0).cumsum()))
    products = np.concatenate(([0.0], _x_log_x(counts).cumsum(dtype=np.longdouble))).astype(np.float64)
    found = np.full(len(candidates), np.inf)
    above = below[-1] - below[candidates]
    last = counts[candidates - 1]
    possible = np.flatnonzero((below[candidates] > 0) & ((last > 0) | (above == 0)))
    for start in range(0, len(possible), _BLOCK):
        block = possible[start : start + _BLOCK]
        kept, folded = candidates[block], above[block]
        edges = (kept[:, None] * np.arange(LEVELS + 1)) >> _LEVEL_BITS  # a shift: dividing whole numbers is slow
        sums, used = (np.diff(running.take(edges), axis=1) for running in (below, filled))
        means = np.divide(sums, used, out=np.ones_like(sums), where=sums > 0)
        np.log(means, out=means)
        p_log_p = products[kept - 1] + _x_log_x(last[block] + folded)
        p_log_q = np.multiply(sums, means, out=sums).sum(axis=1) + folded * means[:, -1]
        found[block] = (p_log_p - p_log_q) / below[-1] + np.log(below[kept] / below[-1])
    return found


def _x_log_x(x: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    result: NDArray[np.float64] = x * np.log(np.where(x > 0, x, 1.0))
    return result
