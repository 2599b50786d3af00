"""A histogram of |x| that grows without losing exactness.

Its range is always a power of two, so bin edges stay on one lattice: when a larger value comes, the range doubles and
neighbouring bins merge in pairs. Where a value falls depends on the value alone; order, batch size and sharding of the
samples change nothing, and memory does not grow with their number.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 4096
"""At least half of them lie below the largest value seen: 2,048, as in TensorRT's entropy calibrator."""
_CHUNK = 1 << 16  # values worked on at a time: what they turn into stays in a core's cache
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

    def coarse(self, bins: int) -> tuple[tuple[int, ...], float]:
        """The counts up to ``amax`` in wider bins, and their width; ``bins`` of them would cover the whole range."""
        step = BINS // bins
        used = -(-len(self.seen()) // step)
        return tuple(self.counts.reshape(bins, step).sum(axis=1)[:used].tolist()), self.width * step

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

        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.exponent: int | None = None  # the range is [0, 2 ** exponent); None while all values were zero
        self.amax = 0.0

    @classmethod
    def of(cls, counts: NDArray[np.int64], exponent: int | None, amax: float) -> StreamingHistogram:
        """One that has counted already."""
        made = cls()
        made.counts, made.exponent, made.amax = counts.copy(), exponent, amax
        return made

    def add(self, values: NDArray[np.floating]) -> None:
        """Counts the values of an array of any shape; all must be finite."""
        import numpy as np

        if not values.size:
            return
        flat = np.asarray(values, np.float32).ravel()
        self.reach(float(np.abs(flat).max()))
        self.count(flat)

    def reach(self, largest: float) -> None:
        """Makes the range hold a magnitude, and takes it for the largest seen if it is."""
        self.amax = max(self.amax, largest)
        if largest > 0:
            self._grow(max(math.frexp(largest)[1], _SMALLEST))

    def count(self, values: NDArray[np.float32]) -> None:
        """Counts values of one axis that the range holds already."""
        import numpy as np

        scale = np.float32(BINS / 2.0 ** (self.exponent or 0))  # a power of two: exact
        for start in range(0, values.size, _CHUNK):
            chunk = values[start : start + _CHUNK]
            scaled, whole, bins = (array[: chunk.size] for array in _scratch())
            np.multiply(chunk, scale, out=scaled)
            np.abs(scaled, out=scaled)
            np.copyto(whole, scaled, casting="unsafe")  # by way of int32: processors do both steps many at a time
            np.copyto(bins, whole)
            self.counts += np.bincount(bins, minlength=BINS)

    def merge(self, other: StreamingHistogram) -> None:
        """Adds another histogram's counts; the same as having added its arrays here."""
        self.amax = max(self.amax, other.amax)
        if other.exponent is None:
            self.counts += other.counts
            return
        self._grow(other.exponent)
        self.counts += _coarser(other.counts, (self.exponent or 0) - other.exponent)

    def result(self) -> Histogram:
        """What has been counted so far."""
        return Histogram(self.counts.copy(), 2.0 ** (self.exponent or 0) / BINS, self.amax)

    def _grow(self, exponent: int) -> None:
        if self.exponent is None:  # until now only zeros, all of them in bin 0 of any range
            self.exponent = exponent
        elif exponent > self.exponent:
            self.counts = _coarser(self.counts, exponent - self.exponent)
            self.exponent = exponent


_own = threading.local()


def _scratch() -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.intp]]:
    """This thread's room for a chunk: values by bin width, their bins, and those in the type that is counted."""
    import numpy as np

    if not hasattr(_own, "room"):
        _own.room = (np.empty(_CHUNK, np.float32), np.empty(_CHUNK, np.int32), np.empty(_CHUNK, np.intp))
    room: tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.intp]] = _own.room
    return room


def _coarser(counts: NDArray[np.int64], doublings: int) -> NDArray[np.int64]:
    """The same counts over a range ``2 ** doublings`` times as large."""
    import numpy as np

    step = 2 ** min(doublings, int(math.log2(BINS)))
    merged = np.zeros_like(counts)
    sums = counts.reshape(-1, step).sum(axis=1)
    merged[: len(sums)] = sums
    return merged
