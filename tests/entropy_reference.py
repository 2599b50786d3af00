"""TensorRT's entropy search word by word, in plain Python: slow, and what the fast one is held against."""

import math

import numpy as np

from trtbuild.calibration.histogram import Histogram

LEVELS = 128


def histogram(counts, largest=None):
    """Bins of width one; the largest value lies in the last one, above its middle."""
    return Histogram(np.asarray(counts, np.int64), 1.0, len(counts) - 0.25 if largest is None else largest)


def divergence(counts, kept):
    """KL(P, Q) of one candidate, as the talk writes it: fold, quantise to 128 levels, expand, normalise, sum."""
    counts = [float(c) for c in counts]
    p = counts[:kept]
    p[-1] += math.fsum(counts[kept:])
    q = [0.0] * kept
    for level in range(LEVELS):
        bins = range(level * kept // LEVELS, (level + 1) * kept // LEVELS)
        filled = [b for b in bins if counts[b] > 0]
        for b in filled:
            q[b] = math.fsum(counts[x] for x in bins) / len(filled)
    total_p, total_q = math.fsum(p), math.fsum(q)
    if any(x > 0 and y == 0 for x, y in zip(p, q, strict=True)):
        return math.inf
    return math.fsum(x / total_p * math.log((x / total_p) / (y / total_q)) for x, y in zip(p, q, strict=True) if x > 0)


def candidates(counts):
    """Those that the search looks at: more than 128 filled bins are kept."""
    return [i for i in range(LEVELS, len(counts) + 1) if sum(c > 0 for c in counts[:i]) > LEVELS]


def as_searched(counts):
    """The counts with the first bin as full as the second."""
    return [counts[1], *counts[1:]]
