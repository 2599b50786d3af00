"""A source of samples: its limit, its shards, its two parts, read ahead in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trtbuild.artifacts import OptimizationProfile, TensorSpec
from trtbuild.content import feed_digest, json_digest
from trtbuild.errors import FeedError
from trtbuild.feeds.checks import batch_axis, check_feed, check_labels
from trtbuild.feeds.prefetch import prefetched
from trtbuild.feeds.readers import RANDOM, read
from trtbuild.feeds.synthetic import random_feeds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

JUDGE_EVERY = 4
"""One row in so many is for judging, beginning with the second."""


@dataclass(frozen=True)
class Sample:
    """One feed of the model.

    Attributes:
        feed: Input name to array, in the dtype and rank of the model's input.
        labels: One label a row, or None.
        digest: SHA-256 of the feed.
    """

    feed: Mapping[str, Array]
    labels: Array | None
    digest: str

    @property
    def rows(self) -> int:
        """Size of axis 0 of the first input; 1 for a scalar."""
        return _rows(self.feed)

    @property
    def labelled_digest(self) -> str:
        """SHA-256 of the feed and its labels: what a score depends on."""
        if self.labels is None:
            return self.digest
        labels = self.labels.tolist() if self.labels.dtype == object else self.labels
        return json_digest([self.digest, repr(labels) if isinstance(labels, list) else feed_digest({"labels": labels})])


@dataclass(frozen=True)
class Samples:
    """A source of samples that can be gone through more than once.

    **The whole** is what the reader yields up to ``limit`` rows. Its samples are numbered from 0, and so are its rows,
    over all samples. ``shard`` and ``role`` choose from the whole by these numbers alone, so they can be combined in
    any way: shards of a part, parts of a shard.

    Attributes:
        reader: ``file.py:function``, ``package.module:function``, an object that holds feeds, or ``random``.
        inputs: The model's inputs.
        folder: Where the reader's relative path starts.
        limit: Rows to take at most, of the whole; the last sample is cut where there is a batch axis.
        args: Keyword arguments for the reader.
        profiles: Bounds for random shapes.
        ranges: Bounds for random values, by input.
        seed: Of the random samples.
        shard: (i, n), i from 1 to n: the samples whose number leaves i - 1 when divided by n. The n shards together are
            the whole; a shard is empty when there are fewer samples than i. Every shard reads the whole.
        role: ``fit`` or ``judge``: one of the whole's two parts, see ``part``.
        prefetch: Samples that are read ahead in a thread; 0 for a reader that must run in the thread of its caller.
    """

    reader: str
    inputs: tuple[TensorSpec, ...]
    folder: Path
    limit: int
    args: Mapping[str, Any] = field(default_factory=dict)
    profiles: tuple[OptimizationProfile, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    seed: int = 0
    shard: tuple[int, int] | None = None
    role: Literal["fit", "judge"] | None = None
    prefetch: int = 2

    def __post_init__(self) -> None:
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise FeedError(
                f"there is no shard {self.shard[0]} of {self.shard[1]}",
                place="shard",
                hint="shards are counted from 1: 1/8 is the first of eight, 8/8 the last",
            )

    @property
    def synthetic(self) -> bool:
        """True when the samples are random numbers."""
        return self.reader == RANDOM

    def part(self, role: Literal["fit", "judge"]) -> Samples:
        """One of two disjoint parts that together are these samples: to choose on one what was fitted on the other.

        Where the inputs have a batch axis, rows 1, 5, 9, ... (every fourth) are for judging and a sample is cut into
        its rows, so the parts do not depend on the batch size. Where they have none, samples 1, 5, 9, ... are.
        With one row (or one sample) ``judge`` is empty: it yields nothing and raises nothing.

        Raises:
            FeedError: These samples are a part already.
        """
        if self.role not in (None, role):
            raise FeedError(
                f"the {self.role} part has no {role} part", place=self.reader, hint="take both parts of the whole"
            )
        return replace(self, role=role)

    def __iter__(self) -> Iterator[Sample]:
        """Yields checked samples.

        Raises:
            FeedError: The reader raises, yields nothing, or yields what the model does not take.
        """
        return prefetched(self._chosen(), 0 if self.synthetic else self.prefetch)

    def digest(self, on_rows: Callable[[int], None] = lambda _rows: None) -> str:
        """SHA-256 over the samples and their labels, in order; few samples in memory at a time.

        Args:
            on_rows: Called with the rows done so far, after each sample.
        """
        digests, rows = [], 0
        for sample in self:
            digests.append(sample.labelled_digest)
            rows += sample.rows
            on_rows(rows)
        return json_digest(digests)

    def _chosen(self) -> Iterator[Sample]:
        """The samples of the whole that are in the shard and the part, cut to their rows."""
        start, step = (self.shard[0] - 1, self.shard[1]) if self.shard else (0, 1)
        for number, first, feed, labels in islice(self._whole(), start, None, step):
            kept = self._kept(number, first, _rows(feed))
            if kept.all():
                yield Sample(feed, labels, feed_digest(feed))
            elif kept.any():
                axis = batch_axis(self.inputs)
                cut = {t.name: feed[t.name][kept] if t.shape[:1] == (axis,) else feed[t.name] for t in self.inputs}
                yield Sample(cut, None if labels is None else labels[kept], feed_digest(cut))

    def _whole(self) -> Iterator[tuple[int, int, dict[str, Array], Array | None]]:
        """Checked samples until ``limit`` rows: number, number of the first row, feed, labels."""
        first, number = 0, -1
        for number, (raw, raw_labels) in enumerate(self._raw()):
            place = f"{self.reader}, sample {number}"
            feed = check_feed(raw, self.inputs, place)
            rows = _rows(feed)
            if rows == 0:
                raise FeedError("the sample has no rows", place=place, hint="leave empty batches out")
            yield number, first, feed, check_labels(raw_labels, rows, place)
            first += rows
            if first >= self.limit:
                return
        if number < 0:
            raise FeedError(
                "the reader yielded nothing",
                place=self.reader,
                hint="it must yield feeds: a dict from input name to array; a generator that was already used up "
                "yields nothing the second time",
            )

    def _kept(self, number: int, first: int, rows: int) -> Array:
        """Which rows of a sample to yield; all of them or none where there is no batch axis."""
        import numpy as np

        divisible = batch_axis(self.inputs) is not None
        numbers = np.arange(first, first + rows) if divisible else np.full(rows, number)
        kept = numbers < self.limit if divisible else np.ones(rows, bool)
        if self.role is not None:
            kept &= (numbers % JUDGE_EVERY == 1) == (self.role == "judge")
        return kept

    def _raw(self) -> Iterator[tuple[Any, Any]]:
        if self.synthetic:
            return ((f, None) for f in random_feeds(self.inputs, self.profiles, self.ranges, self.seed))
        return read(self.reader, self.folder, self.args, self.inputs)


def row_digests(sample: Sample, inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """SHA-256 of each row of a sample, so that a row is known again in another batch.

    A row that is padded to another length is another row. Without a batch axis the sample is one row; an input that
    lacks the axis belongs to every row, as where samples are cut.
    """
    axis = batch_axis(inputs)
    if axis is None:
        return (sample.digest,)
    cut = {t.name for t in inputs if t.shape[:1] == (axis,)}
    return tuple(
        feed_digest({n: a[row : row + 1] if n in cut else a for n, a in sample.feed.items()})
        for row in range(sample.rows)
    )


def _rows(feed: Mapping[str, Array]) -> int:
    first = next(iter(feed.values()))
    return int(first.shape[0]) if first.ndim else 1
