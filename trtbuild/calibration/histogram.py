"""A histogram of |x| that grows without losing exactness.

Its range is always a power of two, so bin edges stay on one lattice: when a larger value comes, the range doubles and
neighbouring bins merge in pairs. Where a value falls depends on the value alone; order, batch size and sharding of the
samples change nothing, and memory does not grow with their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 4096
"""At least half of them lie below the largest value seen: 2,048, as in TensorRT's entropy calibrator."""
_SMALLEST = -115  # exponent of the smallest range: BINS / 2 ** -115 is still a float32


@dataclass(frozen=True)
class Histogram:
    """Counts of |x|.

    Attributes:
        counts: Shape ``[BINS]``; bin i counts ``i * width <= |x| < (i + 1) * width``.
        width: Width of a bin, in the tensor's unit.
        amax: Largest |x| seen.
    """

    counts: NDArray[np.int64]
    width: float
    amax: float

    def seen(self) -> NDArray[np.int64]:
        """The bins up to the one that holds ``amax``."""
        return self.counts[: max(1, min(BINS, math.floor(self.amax / self.width) + 1))]

    def clipped(self, threshold: float) -> float:
        """Share of the values in bins above a threshold (0 to 1); none where it keeps the largest."""
        if threshold >= self.amax:
            return 0.0
        total = int(self.counts.sum())
        return float(self.counts[min(BINS, math.ceil(threshold / self.width)) :].sum()) / total if total else 0.0


class StreamingHistogram:
    """Takes arrays one after the other, in constant memory."""

    def __init__(self) -> None:
        import numpy as np

        self._counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self._exponent: int | None = None  # the range is [0, 2 ** exponent)
        self.seen_min = math.inf
        self.seen_max = -math.inf

    def add(self, values: NDArray[np.floating]) -> None:
        """Counts the values of an array of any shape; all must be finite."""
        import numpy as np

        if not values.size:
            return
        self.seen_min = min(self.seen_min, float(values.min()))
        self.seen_max = max(self.seen_max, float(values.max()))
        magnitudes = np.abs(values, dtype=np.float32).ravel()
        largest = float(magnitudes.max())
        if largest > 0:
            self._grow(max(math.frexp(largest)[1], _SMALLEST))
        scale = np.float32(BINS / 2.0 ** (self._exponent if self._exponent is not None else 0))
        self._counts += np.bincount((magnitudes * scale).astype(np.int32), minlength=BINS)

    def merge(self, other: StreamingHistogram) -> None:
        """Adds another histogram's counts; the same as having added its arrays here."""
        self.seen_min, self.seen_max = min(self.seen_min, other.seen_min), max(self.seen_max, other.seen_max)
        if other._exponent is None:
            self._counts += other._counts
            return
        self._grow(other._exponent)
        self._counts += _coarser(other._counts, (self._exponent or 0) - other._exponent)

    def result(self) -> Histogram:
        """What has been counted so far."""
        amax = max(abs(self.seen_min), abs(self.seen_max)) if self.seen_min <= self.seen_max else 0.0
        return Histogram(self._counts.copy(), 2.0 ** (self._exponent or 0) / BINS, amax)

    def _grow(self, exponent: int) -> None:
        if self._exponent is None:  # until now only zeros, all of them in bin 0 of any range
            self._exponent = exponent
        elif exponent > self._exponent:
            self._counts = _coarser(self._counts, exponent - self._exponent)
            self._exponent = exponent


def _coarser(counts: NDArray[np.int64], doublings: int) -> NDArray[np.int64]:
    """The same counts over a range ``2 ** doublings`` times as large."""
    import numpy as np

    step = 2 ** min(doublings, int(math.log2(BINS)))
    merged = np.zeros_like(counts)
    sums = counts.reshape(-1, step).sum(axis=1)
    merged[: len(sums)] = sums
    return merged
