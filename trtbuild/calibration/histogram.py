"""A histogram of |x| that grows without losing exactness.

Its range is always a power of two, so bin edges stay on one lattice: when a larger value comes, the range doubles and
neighbouring bins merge in pairs. Where a value falls depends on the value alone; order, batch size and sharding of the
samples change nothing, and memory does not grow with their number.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.calibration.counting import BINS, count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
        count(values, BINS / 2.0 ** (self.exponent or 0), self.counts)

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


class Histograms:
    """Histograms of several tensors that threads count at once, each in its own: none waits for another.

    Counts add up exactly, so it does not matter which thread counted what.

    Args:
        names: The tensors.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._here = threading.local()
        self._all: list[Mapping[str, StreamingHistogram]] = []

    @property
    def here(self) -> Mapping[str, StreamingHistogram]:
        """This thread's, by tensor."""
        if not hasattr(self._here, "histograms"):
            self._here.histograms = {name: StreamingHistogram() for name in self._names}
            self._all.append(self._here.histograms)
        mine: Mapping[str, StreamingHistogram] = self._here.histograms
        return mine

    def merge_into(self, histograms: Mapping[str, StreamingHistogram]) -> None:
        """Adds what all threads counted; they must have ended."""
        for counted in self._all:
            for name, histogram in counted.items():
                histograms[name].merge(histogram)


def _coarser(counts: NDArray[np.int64], doublings: int) -> NDArray[np.int64]:
    """The same counts over a range ``2 ** doublings`` times as large."""
    import numpy as np

    step = 2 ** min(doublings, int(math.log2(BINS)))
    merged = np.zeros_like(counts)
    sums = counts.reshape(-1, step).sum(axis=1)
    merged[: len(sums)] = sums
    return merged
