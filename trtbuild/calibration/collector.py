"""Runs a model over samples and counts what its tensors hold: one pass, in constant memory.

Samples are run in portions, several at once: while one is counted, another runs. What was counted of each is put
together in the samples' order, so neither the number of threads nor their speed changes a result.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from trtbuild import onnxfile
from trtbuild.calibration.histogram import Histograms
from trtbuild.calibration.portions import PORTION, Portion, Portions
from trtbuild.calibration.statistics import ActivationStatistics, TensorStatistics
from trtbuild.errors import FeedError, UsageError
from trtbuild.feeds import Sample, Samples, checked, row_digests
from trtbuild.pieces import Pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from trtbuild.artifacts import StoredFile

    Tensors = Iterator[tuple[str, NDArray[Any]]]

Found = TypeVar("Found")  # what is counted of a portion

BUDGET_MB = 48
"""Default for the tensors that a run may hold for counting, in MB (10^6 bytes)."""


@dataclass(frozen=True)
class Wanted:
    """What to measure of a model.

    Attributes:
        histograms: Tensors whose |x| is counted in bins.
        ranges: Tensors of which the range and the moments are enough.
        channels: Tensor to the axis along which its channels are measured too.
    """

    histograms: tuple[str, ...]
    ranges: tuple[str, ...] = ()
    channels: Mapping[str, int] = field(default_factory=dict)

    @property
    def tensors(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys([*self.histograms, *self.ranges, *self.channels]))


def collect(
    model: StoredFile,
    samples: Samples | Iterable[Mapping[str, Any]] | Iterable[Sample],
    wanted: Wanted,
    *,
    budget_mb: float = BUDGET_MB,
    on_sample: Callable[[int], None] = lambda _rows: None,
) -> ActivationStatistics:
    """Runs every sample once and counts.

    Args:
        model: The FP32 ONNX file; only read.
        samples: Feeds, or dicts from input name to array with the batch axis. Their shapes may differ.
        wanted: What to measure.
        budget_mb: What the tensors that are counted may take at a time, in MB. At least one tensor is held.
        on_sample: Called with the rows done so far, after each feed.

    Raises:
        FeedError: No sample, or one that does not fit the model.
        UsageError: The model has no such tensor.
    """
    with tempfile.TemporaryDirectory(prefix="trtbuild-") as folder:
        proto, place = onnxfile.with_weights_on_disk(model.path, Path(folder))
        inputs = onnxfile.inputs(proto)
        seen = ActivationStatistics(model.digest, _nothing_of(wanted), synthetic=_synthetic(samples))
        _hold_known(proto, wanted)

        def noted() -> Iterator[Sample]:
            for sample in checked(samples, inputs):
                seen.samples.append(sample.digest)
                seen.row_digests.extend(row_digests(sample, inputs))
                yield sample

        histograms = Histograms(wanted.histograms)

        def counted(tensors: Tensors, _portion: Portion, number: int) -> dict[str, TensorStatistics]:
            found = {}
            for name, array in tensors:
                if array.dtype.kind == "f":
                    found[name] = TensorStatistics(histogram=False, channel_axis=wanted.channels.get(name))
                    found[name].add(array, number, bins=histograms.here.get(name))
            return found

        def take(found: Mapping[str, TensorStatistics]) -> None:
            for name, tensor in found.items():
                seen.tensors[name].merge(tensor)

        run_in_portions(proto, place, noted(), wanted.tensors, counted, take, budget_mb=budget_mb, on_sample=on_sample)
        histograms.merge_into({n: t.histogram for n, t in seen.tensors.items() if t.histogram is not None})
    if not seen.samples:
        raise FeedError("there is no sample", place="calibration", hint="the reader must yield at least one feed")
    return seen


def run_in_portions(
    model: ModelProto,
    folder: Path,
    samples: Iterable[Sample],
    tensors: Sequence[str],
    count: Callable[[Tensors, Portion, int], Found],
    take: Callable[[Found], None],
    *,
    budget_mb: float = BUDGET_MB,
    on_sample: Callable[[int], None] = lambda _rows: None,
) -> None:
    """Runs samples in portions, several at once, and takes what is counted of each in their order.

    Args:
        model: The model; its large weights lie on disk.
        folder: Where they lie.
        samples: Samples that fit.
        tensors: Which tensors to count.
        count: What to do with a portion's tensors, in a thread: gets them one by one, the portion, and its sample's
            number.
        take: Takes what ``count`` returned, in the caller's thread.
        budget_mb: As for ``collect``.
        on_sample: As for ``collect``.
    """
    size = min(budget_mb * 1e6, PORTION)
    lanes, threads = _lanes(budget_mb * 1e6)
    pieces = Pieces(model, folder, tensors, size, threads=threads, optimise=_gains_by_layout(model))
    portions = Portions(onnxfile.inputs(model), pieces, size)
    rows = 0
    with _InOrder(lanes, take, on_sample) as line:
        for number, sample in enumerate(samples):
            rows += sample.rows
            for portion in portions.of(sample):
                line.put(count, pieces.run(portion.feed, portion.expected), portion, number)
            line.put_rows(rows)


class _InOrder(Generic[Found]):
    """Counts portions in threads, and takes what they counted in the order they were given.

    Args:
        lanes: Portions that run at once.
        take: Takes what was counted of one.
        on_sample: Called when a sample is done.
    """

    def __init__(self, lanes: int, take: Callable[[Found], None], on_sample: Callable[[int], None]) -> None:
        self._pool = ThreadPoolExecutor(lanes, "trtbuild-calibrate")
        self._line: deque[Future[Found] | int] = deque()
        self._longest = 3 * lanes  # no lane waits for the reader, and few samples are held
        self._take_found, self._on_sample = take, on_sample

    def __enter__(self) -> _InOrder[Found]:
        """The threads start with the first portion."""
        return self

    def __exit__(self, kind: object, *_rest: object) -> None:
        try:
            while self._line and kind is None:
                self._take()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def put(self, count: Callable[..., Found], *words: Any) -> None:
        """Lets something be counted; waits where much is waiting already."""
        self._line.append(self._pool.submit(count, *words))
        while len(self._line) > self._longest:
            self._take()

    def put_rows(self, rows: int) -> None:
        """Says that with what was put so far, so many rows are done."""
        self._line.append(rows)

    def _take(self) -> None:
        first = self._line.popleft()
        if isinstance(first, int):
            self._on_sample(first)
        else:
            self._take_found(first.result())


def _lanes(budget: float) -> tuple[int, int]:
    """How many portions the budget lets run at once, a core each at most, and the threads of each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    lanes = max(1, min(cores, int(budget // PORTION)))
    return lanes, max(1, cores // lanes)


def _gains_by_layout(model: ModelProto) -> bool:
    """Whether ONNX Runtime's own layout for convolutions helps: it is faster by a third.

    Q/DQ pairs that a model brings along stay as they are written: ONNX Runtime would compute in INT8 between them.
    """
    ops = {n.op_type for n in model.graph.node}
    return bool(ops & {"Conv", "ConvTranspose"}) and not ops & {"QuantizeLinear", "DequantizeLinear"}


def _synthetic(samples: Any) -> bool:
    return isinstance(samples, Samples) and samples.synthetic


def _hold_known(proto: ModelProto, wanted: Wanted) -> None:
    made = {v.name for v in proto.graph.input} | {name for n in proto.graph.node for name in n.output}
    for name in wanted.tensors:
        if name not in made:
            raise UsageError(
                f"the model computes no tensor {name!r}", place="calibration", hint="`trtbuild inspect` lists them"
            )


def _nothing_of(wanted: Wanted) -> dict[str, TensorStatistics]:
    binned = set(wanted.histograms)
    return {
        name: TensorStatistics(histogram=name in binned, channel_axis=wanted.channels.get(name))
        for name in wanted.tensors
    }
