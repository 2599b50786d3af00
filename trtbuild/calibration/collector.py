"""Runs a model over samples and counts what its tensors hold: one pass, in constant memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.calibration.pieces import Pieces
from trtbuild.calibration.statistics import ActivationStatistics, TensorStatistics
from trtbuild.errors import FeedError, UsageError
from trtbuild.feeds import Sample, Samples, checked, row_digests

if TYPE_CHECKING:
    from onnx import ModelProto

    from trtbuild.artifacts import StoredFile

BUDGET_MB = 24
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
    rows = 0
    with tempfile.TemporaryDirectory(prefix="trtbuild-") as folder:
        proto, place = onnxfile.with_weights_on_disk(model.path, Path(folder))
        inputs = onnxfile.inputs(proto)
        seen = ActivationStatistics(model.digest, _empty(proto, wanted), synthetic=_synthetic(samples))
        pieces = Pieces(proto, place, wanted.tensors, budget_mb * 1e6)
        for number, sample in enumerate(checked(samples, inputs)):
            for name, array in pieces.run(sample.feed):
                if array.dtype.kind == "f":
                    seen.tensors[name].add(array, number)
            seen.samples.append(sample.digest)
            seen.row_digests.extend(row_digests(sample, inputs))
            rows += sample.rows
            on_sample(rows)
    if not seen.samples:
        raise FeedError("there is no sample", place="calibration", hint="the reader must yield at least one feed")
    return seen


def _synthetic(samples: Any) -> bool:
    return isinstance(samples, Samples) and samples.synthetic


def _empty(proto: ModelProto, wanted: Wanted) -> dict[str, TensorStatistics]:
    made = {v.name for v in proto.graph.input} | {name for n in proto.graph.node for name in n.output}
    for name in wanted.tensors:
        if name not in made:
            raise UsageError(
                f"the model computes no tensor {name!r}", place="calibration", hint="`trtbuild inspect` lists them"
            )
    binned = set(wanted.histograms)
    return {
        name: TensorStatistics(histogram=name in binned, channel_axis=wanted.channels.get(name))
        for name in wanted.tensors
    }
