"""Feeds cut into portions of rows, so that what is measured of one portion stays in a processor's cache.

Small portions also keep memory low whatever the reader's batch, and several can run at once. Rows may only be taken
apart where none depends on another: an axis that has a name may be a batch, and it may be time. So two rows of the
first feed are run together and each on its own, and nothing is cut when any tensor differs by more than rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtbuild.feeds import batch_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtbuild.artifacts import TensorSpec
    from trtbuild.feeds import Sample
    from trtbuild.pieces import Pieces

    Array = NDArray[Any]

PORTION = 24_000_000
"""Bytes that the tensors measured of one portion may take: some rows of most models, and small against a cache."""

_ROUNDING = 1e-4  # of a tensor's largest |x|: kernels differ with the number of rows, and deep models carry that on


@dataclass(frozen=True)
class Portion:
    """Some rows of a feed.

    Attributes:
        feed: Input name to array; its own, so that a reader may use its arrays again.
        expected: Bytes of each measured tensor; None where they have to be inferred.
        first: Its first row's number in the sample.
        rows: How many rows it has; 1 for a sample that was not cut.
        of: How many the sample has; likewise.
    """

    feed: Mapping[str, Array]
    expected: Mapping[str, int] | None = None
    first: int = 0
    rows: int = 1
    of: int = 1


class Portions:
    """Cuts feeds.

    Args:
        inputs: The model's inputs.
        pieces: What runs the portions.
        size: Bytes that the tensors measured of a portion should not exceed; at least one row is run.
    """

    def __init__(self, inputs: Sequence[TensorSpec], pieces: Pieces, size: float) -> None:
        axis = batch_axis(inputs)
        self._cut = frozenset(t.name for t in inputs if axis is not None and t.shape[:1] == (axis,))
        self._pieces, self._size = pieces, size
        self._independent: bool | None = None  # not known yet

    def of(self, sample: Sample) -> Iterator[Portion]:
        """The portions of one sample, in order."""
        rows = sample.rows
        if not self._cut or rows == 1:
            yield Portion(_copy(sample.feed))
            return
        row = {n: -(-size // rows) for n, size in self._pieces.expected(sample.feed).items()}
        count = max(1, min(rows, int(self._size // max(sum(row.values()), 1))))
        if count == rows or not self._may_cut(sample.feed, rows, row):
            yield Portion(_copy(sample.feed))
            return
        runs = -(-rows // count)
        for number in range(runs):  # of nearly the same size
            chosen = range(number * rows // runs, (number + 1) * rows // runs)
            sizes = {n: len(chosen) * size for n, size in row.items()}
            yield Portion(self._rows(sample.feed, chosen), sizes, chosen.start, len(chosen), rows)

    def _rows(self, feed: Mapping[str, Array], chosen: Sequence[int]) -> dict[str, Array]:
        return {n: a[list(chosen)] if n in self._cut else a.copy() for n, a in feed.items()}

    def _may_cut(self, feed: Mapping[str, Array], rows: int, expected: Mapping[str, int]) -> bool:
        if self._independent is None:
            first = self._rows(feed, [0])
            others = (self._rows(feed, [number]) for number in range(1, rows))
            number = next((i for i, other in enumerate(others, 1) if _differ(first, other)), None)
            if number is None:
                return False  # the same row throughout says nothing; ask the next feed
            self._independent = self._is_sum_of_rows(feed, number, expected)
        return self._independent

    def _is_sum_of_rows(self, feed: Mapping[str, Array], number: int, expected: Mapping[str, int]) -> bool:
        """Whether two rows at once give what each of them gives; the three runs go on side by side."""
        runs = [self._pieces.run(self._rows(feed, chosen), expected) for chosen in ([0, number], [0], [number])]
        with ThreadPoolExecutor(len(runs)) as pool:
            while True:
                whole, one, other = pool.map(lambda run: next(run, None), runs)
                if whole is None or one is None or other is None:  # all three end together
                    return True
                if not _joins(whole[1], one[1], other[1]):
                    return False


def _copy(feed: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array.copy() for name, array in feed.items()}


def _differ(left: Mapping[str, Array], right: Mapping[str, Array]) -> bool:
    return any((left[name] != right[name]).any() for name in left)


def _joins(whole: Array, one: Array, other: Array) -> bool:
    """Whether two rows' tensors, put together, are that of both at once."""
    import numpy as np

    if whole.dtype.kind != "f" or not whole.size:
        return True
    if one.shape == other.shape == whole.shape:  # it has no batch: a position, a constant
        pairs = [(whole, one), (whole, other)]
    elif one.ndim and whole.shape == (len(one) + len(other), *one.shape[1:]):
        pairs = [(whole, np.concatenate([one, other]))]
    elif whole.size == one.size + other.size:  # the batch is not in front: the same values, in whatever order
        pairs = [(np.sort(whole, axis=None), np.sort(np.concatenate([one.ravel(), other.ravel()])))]
    else:
        return False
    largest = float(np.nanmax(np.abs(whole), where=np.isfinite(whole), initial=0.0))
    return all(np.allclose(a, b, rtol=0, atol=_ROUNDING * largest, equal_nan=True) for a, b in pairs)
