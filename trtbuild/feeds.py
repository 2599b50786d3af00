"""Samples from the user's readers: reading them, holding them against the model's inputs, making random ones.

A reader is a callable that yields feeds: a dict from input name to an array with its batch axis, or a pair of a feed
and labels (one a row). Arrays may be anything NumPy reads, torch tensors included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import OptimizationProfile, TensorSpec
from trtbuild.content import feed_digest, json_digest
from trtbuild.errors import FeedError
from trtbuild.registry import nearest_hint
from trtbuild.sources import load_callable, user_code

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]

RANDOM = "random"
"""The word that asks for random numbers instead of a reader."""


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
        first = next(iter(self.feed.values()))
        return int(first.shape[0]) if first.ndim else 1

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

    Attributes:
        reader: ``file.py:function``, ``package.module:function``, or ``random``.
        inputs: The model's inputs.
        folder: Where the reader's relative path starts.
        limit: Rows to take at most.
        args: Keyword arguments for the reader.
        profiles: Bounds for random shapes.
        ranges: Bounds for random values, by input.
        seed: Of the random samples.
    """

    reader: str
    inputs: tuple[TensorSpec, ...]
    folder: Path
    limit: int
    args: Mapping[str, Any] = field(default_factory=dict)
    profiles: tuple[OptimizationProfile, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    seed: int = 0

    @property
    def synthetic(self) -> bool:
        """True when the samples are random numbers."""
        return self.reader == RANDOM

    def __iter__(self) -> Iterator[Sample]:
        """Yields checked samples until ``limit`` rows; the last one is cut where the inputs share a batch axis.

        Raises:
            FeedError: The reader raises, yields nothing, or yields what the model does not take.
        """
        rows = number = 0
        for number, (feed, labels) in enumerate(self._raw(), start=1):
            place = f"{self.reader}, sample {number - 1}"
            checked = check_feed(feed, self.inputs, place)
            sample = Sample(checked, _labels(labels, checked, place), feed_digest(checked))
            if rows + sample.rows > self.limit:
                sample = _first_rows(sample, self.limit - rows, self.inputs)
            yield sample
            rows += sample.rows
            if rows >= self.limit:
                return
        if number == 0:
            raise FeedError(
                "the reader yielded nothing",
                place=self.reader,
                hint="it must yield feeds: a dict from input name to array; a generator that was already used up "
                "yields nothing the second time",
            )

    def digest(self) -> str:
        """SHA-256 over the samples and their labels, in order; one sample in memory at a time."""
        return json_digest([sample.labelled_digest for sample in self])

    def _raw(self) -> Iterator[tuple[Any, Any]]:
        if self.synthetic:
            yield from ((f, None) for f in random_feeds(self.inputs, self.profiles, self.ranges, self.seed))
            return
        function = load_callable(self.reader, self.folder)
        with user_code(self.reader, FeedError):
            source = function(**self.args)
            iterator = iter(source)
        while True:
            with user_code(self.reader, FeedError):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            pair = isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], Mapping)
            yield (item[0], item[1]) if pair else (item, None)


def row_digests(sample: Sample, inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """SHA-256 of each row of a sample, so that a row is known again in another batch.

    A row that is padded to another length is another row. Where the inputs share no batch axis, the sample is one row.
    """
    leading = {t.shape[0] if t.shape else None for t in inputs}
    if len(leading) != 1 or not isinstance(next(iter(leading)), str):
        return (sample.digest,)
    return tuple(
        feed_digest({name: array[row : row + 1] for name, array in sample.feed.items()}) for row in range(sample.rows)
    )


def _first_rows(sample: Sample, rows: int, inputs: Sequence[TensorSpec]) -> Sample:
    """The first rows of a sample; the whole of it where the batch axis is fixed."""
    axis = inputs[0].shape[0] if inputs[0].shape else None
    if not isinstance(axis, str):
        return sample
    feed = {t.name: sample.feed[t.name][:rows] if t.shape[:1] == (axis,) else sample.feed[t.name] for t in inputs}
    return Sample(feed, None if sample.labels is None else sample.labels[:rows], feed_digest(feed))


def check_feed(feed: object, inputs: Sequence[TensorSpec], place: str) -> dict[str, Array]:
    """Holds one feed against the model's inputs and brings it to their dtypes.

    Args:
        feed: What the reader yielded.
        inputs: The model's inputs.
        place: How to name the sample in an error.

    Returns:
        Input name to array, in the inputs' order.

    Raises:
        FeedError: Not a dict, a wrong or missing name, rank, size or dtype, NaN or Inf.
    """
    import numpy as np

    if not isinstance(feed, Mapping):
        raise FeedError(
            f"a reader yields dicts from input name to array, not {type(feed).__name__}",
            place=place,
            hint="yield {" + ", ".join(f"{t.name!r}: ..." for t in inputs) + "}",
        )
    known = [t.name for t in inputs]
    for name in feed:
        if name not in known:
            raise FeedError(f"the model has no input {name!r}", place=place, hint=nearest_hint(str(name), known))
    axes: dict[str, tuple[int, str]] = {}
    checked = {}
    for tensor in inputs:
        if tensor.name not in feed:
            raise FeedError(f"input {tensor.name!r} is missing", place=place, hint=f"yield {known} in each dict")
        array = _as_dtype(_as_array(feed[tensor.name], tensor, place), tensor, place)
        _check_shape(array, tensor, axes, place)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FeedError(
                f"input {tensor.name!r} holds NaN or Inf", place=place, hint="mend the reader: no range can hold it"
            )
        checked[tensor.name] = np.asarray(array, order="C")  # ascontiguousarray would give a scalar an axis
    return checked


def _as_array(value: Any, tensor: TensorSpec, place: str) -> Array:
    import numpy as np

    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on a GPU, or with gradients
        raise FeedError(
            f"input {tensor.name!r} is no array: {error}", place=place, hint="yield arrays, each row of one length"
        ) from error


def _as_dtype(array: Array, tensor: TensorSpec, place: str) -> Array:
    import numpy as np

    wanted = np.dtype(tensor.dtype)
    same_kind = array.dtype.kind == wanted.kind or (array.dtype.kind in "iu" and wanted.kind in "iu")
    if not same_kind:
        raise FeedError(
            f"input {tensor.name!r} wants {wanted}, the sample has {array.dtype}",
            place=place,
            hint=f"convert it in the reader: array.astype({wanted.name!r})",
        )
    with np.errstate(over="ignore"):  # becomes Inf, which is refused next
        cast = array.astype(wanted, copy=False)
    if wanted.kind in "iu" and not (cast == array).all():
        raise FeedError(
            f"input {tensor.name!r} wants {wanted}, which cannot hold the sample's {array.min()} to {array.max()}",
            place=place,
            hint="mend the reader: the values would wrap around",
        )
    return cast


def _check_shape(array: Array, tensor: TensorSpec, axes: dict[str, tuple[int, str]], place: str) -> None:
    if array.ndim != len(tensor.shape):
        raise FeedError(
            f"input {tensor.name!r} has {len(tensor.shape)} axes {list(tensor.shape)}, the sample {list(array.shape)}",
            place=place,
            hint="keep the batch axis, also for a single sample",
        )
    for size, axis in zip(array.shape, tensor.shape, strict=True):
        wanted, by = (axis, tensor.name) if isinstance(axis, int) else axes.setdefault(axis, (size, tensor.name))
        if size != wanted:
            raise FeedError(
                f"input {tensor.name!r} is {list(array.shape)}, but {axis!r} is {wanted} (from {by!r})",
                place=place,
                hint=f"the model takes {list(tensor.shape)}",
            )


def _labels(labels: Any, feed: Mapping[str, Array], place: str) -> Array | None:
    import numpy as np

    if labels is None:
        return None
    array = np.asarray(labels)
    first = next(iter(feed.values()))
    rows = first.shape[0] if first.ndim else 1
    if array.ndim == 0 or len(array) != rows:
        raise FeedError(f"{rows} rows, but labels of shape {list(array.shape)}", place=place, hint="one label a row")
    return array


def random_feeds(
    inputs: Sequence[TensorSpec],
    profiles: Sequence[OptimizationProfile],
    ranges: Mapping[str, tuple[float, float]],
    seed: int,
) -> Iterator[dict[str, Array]]:
    """Endless random feeds: first the profiles' opt, min and max shapes, then shapes between."""
    import numpy as np

    random = np.random.default_rng(seed)
    corners = [{a: getattr(r, w) for a, r in p.axes.items()} for p in profiles for w in ("opt", "min", "max")]
    while True:
        if corners:
            sizes = corners.pop(0)
        else:
            axes = profiles[int(random.integers(len(profiles)))].axes if profiles else {}
            sizes = {a: int(random.integers(r.min, r.max + 1)) for a, r in axes.items()}
        yield random_feed(inputs, sizes, ranges, random)


def random_feed(
    inputs: Sequence[TensorSpec],
    sizes: Mapping[str, int],
    ranges: Mapping[str, tuple[float, float]],
    random: np.random.Generator,
) -> dict[str, Array]:
    """One random feed.

    Args:
        inputs: The model's inputs.
        sizes: Size of each named axis; 1 for one not given.
        ranges: Smallest and largest value by input. Default: [-1, 1] for floats; 0 and 1 for integers and booleans,
            with a 1 at the start of the last axis, so that a mask never masks everything.
        random: Where the numbers come from.
    """
    import numpy as np

    feed = {}
    for tensor in inputs:
        shape = tuple(d if isinstance(d, int) else sizes.get(d, 1) for d in tensor.shape)
        if tensor.dtype.startswith("float"):
            low, high = ranges.get(tensor.name, (-1.0, 1.0))
            array: Array = random.uniform(low, high, shape).astype(tensor.dtype)
        else:
            low, high = ranges.get(tensor.name, (0, 1))
            array = random.integers(int(low), int(high) + 1, shape).astype(tensor.dtype)
            if tensor.name not in ranges and array.size:
                np.atleast_1d(array)[..., :1] = 1
        feed[tensor.name] = array
    return feed


def check_within_profiles(
    sample: Sample, inputs: Sequence[TensorSpec], profiles: Sequence[OptimizationProfile]
) -> str | None:
    """None when some profile takes the sample; else which axis does not fit, in words."""
    sizes = {
        d: n for t in inputs for d, n in zip(t.shape, sample.feed[t.name].shape, strict=True) if isinstance(d, str)
    }
    complaint = None
    for profile in profiles:
        outside = [
            a for a, n in sizes.items() if a in profile.axes and not profile.axes[a].min <= n <= profile.axes[a].max
        ]
        if not outside:
            return None
        axis = outside[0]
        bounds = profile.axes[axis]
        complaint = f"axis {axis!r} is {sizes[axis]}, the profile takes {bounds.min} to {bounds.max}"
    return complaint
