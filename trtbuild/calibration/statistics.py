"""What is seen of a model's activations: histograms, moments, ranges by channel. It merges, and has a file form.

Nothing here depends on a calibration method: thresholds are chosen from it afterwards, as often as one likes.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import ChannelRange
from trtbuild.calibration import counting
from trtbuild.calibration.histogram import StreamingHistogram
from trtbuild.content import json_digest
from trtbuild.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK = 1 << 17  # values worked on at a time, where a channel has not more: they stay in a core's cache
_FORM = 1  # of the file


class ChannelStatistics:
    """Largest |x|, sum and count of each channel.

    Args:
        axis: The tensor's axis that channels lie along.
    """

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self.amax: NDArray[np.float64] | None = None
        self.total: NDArray[np.float64] | None = None
        self.count = 0

    def merge(self, other: ChannelStatistics) -> None:
        """Takes another's counts."""
        if other.amax is not None and other.total is not None:
            self.take(other.amax, other.total, other.count)

    def take(self, amax: NDArray[np.float64], total: NDArray[np.float64], count: int) -> None:
        """Takes each channel's largest |x| and sum, shape ``[channels]``, over ``count`` values a channel."""
        import numpy as np

        self.amax = amax if self.amax is None else np.maximum(self.amax, amax)
        self.total = total if self.total is None else self.total + total
        self.count += count

    def result(self) -> ChannelRange:
        """What has been seen so far."""
        if self.amax is None or self.total is None:
            return ChannelRange(self.axis, (), ())
        mean = self.total / max(self.count, 1)
        return ChannelRange(self.axis, tuple(self.amax.tolist()), tuple(mean.tolist()))


class TensorStatistics:
    """What is seen of one tensor, in constant memory.

    Args:
        histogram: Whether |x| is counted in bins; else only range and moments are kept.
        channel_axis: The axis to keep ranges along as well; None for none.
    """

    def __init__(self, *, histogram: bool = True, channel_axis: int | None = None) -> None:
        self.histogram = StreamingHistogram() if histogram else None
        self.channels = None if channel_axis is None else ChannelStatistics(channel_axis)
        self.low, self.high = math.inf, -math.inf
        self.count = 0  # finite values
        self.total = self.squares = 0.0
        self.nonfinite = 0
        self.first_nonfinite: int | None = None  # the sample in which NaN or Inf came first

    def add(self, values: NDArray[Any], sample: int = 0, *, bins: StreamingHistogram | None = None) -> None:
        """Takes an array of any shape; NaN and Inf are counted and left out.

        Args:
            values: Floats.
            sample: Which sample it belongs to.
            bins: Where to count |x|, instead of in a histogram of its own.
        """
        import numpy as np

        if not values.size:
            return
        if values.dtype == np.float16:
            values = values.astype(np.float32)
        bins = self.histogram if bins is None else bins
        axis = None if self.channels is None else self.channels.axis % values.ndim
        width = 1 if axis is None else values.shape[axis]
        before = 1 if axis is None else math.prod(values.shape[:axis])
        whole = np.ascontiguousarray(values).reshape(before, width, -1)  # a view: no copy
        found = [(self._take(block, bins, sample), mine) for block, mine in _blocks(whole)]
        if self.channels is None:
            return
        amax, total = np.zeros(width), np.zeros(width)
        for part, mine in found:
            if part is None:
                self.channels = None  # a channel's range without what it loses here would be a lie
                return
            np.maximum(amax[mine], np.maximum(part.high, -part.low), out=amax[mine])
            total[mine] += part.total
        self.channels.take(amax, total, values.size // width)

    def _take(
        self, block: NDArray[np.floating], bins: StreamingHistogram | None, sample: int
    ) -> counting.Moments | None:
        """Takes a block of shape ``[rows, channels, inner]``; returns nothing where some of it is NaN or Inf."""
        import numpy as np

        found = counting.moments(block)
        if not math.isfinite(found.squares):  # a value is not, or its square in float32
            finite = np.isfinite(block)
            if not finite.all():
                self.nonfinite += int((~finite).sum())
                self.first_nonfinite = sample if self.first_nonfinite is None else min(sample, self.first_nonfinite)
                if finite.any():
                    self._take(block[finite].reshape(1, 1, -1), bins, sample)
                return None
            found = counting.moments(block.astype(np.float64))
        low, high = float(found.low.min()) + 0.0, float(found.high.max()) + 0.0  # never -0.0
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.count += block.size
        self.total += float(found.total.sum())
        self.squares += found.squares
        if bins is not None:
            bins.reach(max(-low, high))
            bins.count(block.reshape(-1).astype(np.float32, copy=False))
        return found

    def merge(self, other: TensorStatistics) -> None:
        """Takes another's counts: the same as having added its arrays here."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.nonfinite += other.nonfinite
        seen = [n for n in (self.first_nonfinite, other.first_nonfinite) if n is not None]
        self.first_nonfinite = min(seen, default=None)
        if self.histogram is not None and other.histogram is not None:
            self.histogram.merge(other.histogram)
        if self.channels is not None and other.channels is not None:
            self.channels.merge(other.channels)
        else:
            self.channels = None

    @property
    def mean(self) -> float:
        """Mean of the finite values."""
        return self.total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of the finite values."""
        return math.sqrt(max(self.squares / self.count - self.mean**2, 0.0)) if self.count else 0.0

    def outliers(self, deviations: float = 6.0) -> float:
        """Share of the values (0 to 1) beyond |mean| and some standard deviations; 0 without a histogram."""
        if self.histogram is None:
            return 0.0
        return self.histogram.result().clipped(abs(self.mean) + deviations * self.deviation)


def _blocks(whole: NDArray[np.floating]) -> Iterator[tuple[NDArray[np.floating], slice]]:
    """Blocks of an array of shape ``[rows, channels, inner]``, each contiguous, and the channels of each."""
    rows, channels, inner = whole.shape
    if rows == channels == 1:
        for start in range(0, inner, _BLOCK):
            yield whole[:, :, start : start + _BLOCK], slice(1)
        return
    together = max(1, _BLOCK // (channels * inner))
    some = channels if together > 1 else max(1, _BLOCK // inner)
    for first in range(0, rows, together):
        for channel in range(0, channels, some):
            mine = slice(channel, min(channel + some, channels))
            yield whole[first : first + together, mine], mine


@dataclass
class ActivationStatistics:
    """What one pass over samples saw of a model.

    Attributes:
        graph: Digest of the ONNX model.
        tensors: Tensor name to what was seen of it.
        samples: Digest of each feed, in order.
        row_digests: Digest of each row.
        synthetic: True when the samples were random numbers.
    """

    graph: str
    tensors: dict[str, TensorStatistics]
    samples: list[str] = field(default_factory=list)
    row_digests: list[str] = field(default_factory=list)
    synthetic: bool = False

    @property
    def data(self) -> str:
        """Digest of the rows, whatever their order and batches."""
        return json_digest(sorted(self.row_digests))

    def save(self, path: Path) -> None:
        """Writes an ``.npz`` file, without pickles."""
        import numpy as np

        arrays: dict[str, NDArray[Any]] = {}
        about: dict[str, Any] = {}
        for number, (name, seen) in enumerate(self.tensors.items()):
            about[name] = {
                "number": number,
                "range": [seen.low, seen.high] if seen.count else None,
                "count": seen.count,
                "total": seen.total,
                "squares": seen.squares,
                "nonfinite": [seen.nonfinite, seen.first_nonfinite],
                "exponent": seen.histogram.exponent if seen.histogram else None,
                "axis": seen.channels.axis if seen.channels else None,
                "rows": seen.channels.count if seen.channels else 0,
            }
            if seen.histogram:
                arrays[f"{number}.counts"] = seen.histogram.counts
            if seen.channels and seen.channels.amax is not None and seen.channels.total is not None:
                arrays[f"{number}.amax"], arrays[f"{number}.total"] = seen.channels.amax, seen.channels.total
        head = {
            "form": _FORM,
            "graph": self.graph,
            "samples": self.samples,
            "rows": self.row_digests,
            "synthetic": self.synthetic,
            "tensors": about,
        }
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        with path.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> ActivationStatistics:
        """Reads what ``save`` wrote.

        Raises:
            UsageError: No such file, or another kind of file.
        """
        import numpy as np

        try:
            with np.load(path, allow_pickle=False) as arrays:
                head = json.loads(bytes(arrays["head"]))
                if head["form"] != _FORM:
                    raise UsageError(
                        f"it has form {head['form']}, this trtbuild reads {_FORM}",
                        place=str(path),
                        hint="calibrate that shard again",
                    )
                tensors = {name: _read(about, arrays) for name, about in head["tensors"].items()}
        except FileNotFoundError as error:
            raise UsageError(
                "there is no such file", place=str(path), hint="`trtbuild calibrate --shard` writes it"
            ) from error
        except (KeyError, ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise UsageError(
                "these are no calibration statistics", place=str(path), hint="`trtbuild calibrate --shard` writes them"
            ) from error
        return cls(head["graph"], tensors, head["samples"], head["rows"], head["synthetic"])


def _read(about: Mapping[str, Any], arrays: Any) -> TensorStatistics:
    seen = TensorStatistics(histogram=about["exponent"] is not None or f"{about['number']}.counts" in arrays)
    seen.low, seen.high = about["range"] or (math.inf, -math.inf)
    seen.count, seen.total, seen.squares = about["count"], about["total"], about["squares"]
    seen.nonfinite, seen.first_nonfinite = about["nonfinite"]
    if seen.histogram is not None:
        seen.histogram = StreamingHistogram.of(
            arrays[f"{about['number']}.counts"],
            about["exponent"],
            max(-seen.low, seen.high) if seen.count else 0.0,
        )
    if about["axis"] is not None:
        seen.channels = ChannelStatistics(about["axis"])
        seen.channels.count = about["rows"]
        if f"{about['number']}.amax" in arrays:
            seen.channels.amax = arrays[f"{about['number']}.amax"]
            seen.channels.total = arrays[f"{about['number']}.total"]
    return seen


def merge(shards: Sequence[ActivationStatistics]) -> ActivationStatistics:
    """Puts the statistics of several shards together: the same as one pass over all of their samples.

    Raises:
        UsageError: There is no shard, or one was given twice.
        IntegrityError: They belong to different graphs, or saw different tensors.
    """
    if not shards:
        raise UsageError("there is no shard to merge", place="calibrate merge", hint="name their files")
    first = shards[0]
    whole = ActivationStatistics(first.graph, {}, synthetic=any(s.synthetic for s in shards))
    for shard in shards:
        if shard.graph != first.graph or shard.tensors.keys() != first.tensors.keys():
            raise IntegrityError(
                f"one shard belongs to graph {first.graph[:12]}, another to {shard.graph[:12]}"
                if shard.graph != first.graph
                else "the shards measured different tensors",
                place="calibrate merge",
                hint="make all shards from the same model with the same options",
            )
        if shard.samples and set(shard.samples) <= set(whole.samples):
            raise UsageError(
                "a shard's samples are all in another one: they would count twice",
                place="calibrate merge",
                hint="name each shard once, and give each its own --shard i/n",
            )
        whole.samples += shard.samples
        whole.row_digests += shard.row_digests
        for name, seen in shard.tensors.items():
            if name in whole.tensors:
                whole.tensors[name].merge(seen)
            else:
                whole.tensors[name] = _copy(seen)
    return whole


def _copy(seen: TensorStatistics) -> TensorStatistics:
    axis = seen.channels.axis if seen.channels else None
    fresh = TensorStatistics(histogram=seen.histogram is not None, channel_axis=axis)
    fresh.merge(seen)
    return fresh
