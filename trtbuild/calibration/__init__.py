"""The calibrate stage: activation ranges, measured by running the model in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import CalibrationTable, StoredFile, TensorRange
from trtbuild.calibration.histogram import StreamingHistogram
from trtbuild.content import feed_digest, json_digest
from trtbuild.errors import FeedError, ModelError
from trtbuild.feeds import Sample, Samples, check_feed, row_digests
from trtbuild.registry import Registry

if TYPE_CHECKING:
    from onnx import ModelProto

PACKAGES = ("onnx", "onnxruntime", "numpy")
METHODS = Registry("trtbuild.calibration.methods", "calibration method")


def calibrate(
    model: StoredFile | Path | str,
    samples: Samples | Iterable[Mapping[str, Any]] | Iterable[Sample],
    *,
    method: str = "entropy",
    tensors: Sequence[str] | None = None,
    on_sample: Callable[[int], None] = lambda _rows: None,
) -> CalibrationTable:
    """Measures the ranges of a model's activations in one pass and constant memory.

    Args:
        model: The rewritten FP32 ONNX.
        samples: Feeds: dicts from input name to array, with the batch axis.
        method: How the largest |x| to keep is chosen; ``trtbuild methods`` lists them.
        tensors: Which tensors to measure; the computed inputs of Conv, MatMul and Gemm when left out.
        on_sample: Called with the rows done so far, after each feed.

    Returns:
        The table: one range a tensor, keyed by the model's and the samples' digests.

    Raises:
        FeedError: No sample, or one that does not fit the model.
        ModelError: A tensor turns NaN or Inf.

    Example:
        >>> import tempfile, numpy as np, onnx, onnx.parser
        >>> text = '''<ir_version: 9, opset_import: ["": 17]> g (float[n, 4] x) => (float[n, 2] y)
        ...           <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}> { y = MatMul (x, w) }'''
        >>> path = tempfile.mkdtemp() + "/m.onnx"
        >>> onnx.save(onnx.parser.parse_model(text), path)
        >>> feeds = [{"x": np.full((2, 4), value, np.float32)} for value in (0.5, -3.0)]
        >>> calibrate(path, feeds, method="minmax").ranges["x"].amax
        3.0
    """
    from trtbuild.matrixops import matrix_nodes
    from trtbuild.onnxrun import run, session

    threshold = METHODS.load(method).threshold
    stored = model if isinstance(model, StoredFile) else onnxfile.stored(Path(model))
    proto = onnxfile.load(stored.path)
    names = list(tensors or dict.fromkeys(t for n in matrix_nodes(proto) if n.weight for t in n.activations))
    histograms = {name: StreamingHistogram() for name in names}
    inputs = onnxfile.inputs(proto)
    exposed = session(_expose(proto, names))
    digests: list[str] = []
    seen: list[str] = []
    rows = 0
    for number, sample in enumerate(_checked(samples, inputs)):
        values = run(exposed, sample.feed, names) if names else {}
        for name, array in values.items():
            _count(histograms[name], array, name, number)
        digests.append(sample.digest)
        seen.extend(row_digests(sample, inputs))
        rows += sample.rows
        on_sample(rows)
    if not digests:
        raise FeedError("there is no sample", place="calibration", hint="the reader must yield at least one feed")
    return CalibrationTable(
        graph=stored.digest,
        method=method,
        data=json_digest(digests),
        samples=rows,
        row_digests=tuple(seen),
        synthetic=isinstance(samples, Samples) and samples.synthetic,
        ranges={name: _range(h, threshold) for name, h in histograms.items()},
    )


def _checked(samples: Any, inputs: Any) -> Iterable[Sample]:
    for number, item in enumerate(samples):
        if isinstance(item, Sample):
            yield item
        else:
            feed = check_feed(item, inputs, f"sample {number}")
            yield Sample(feed, None, feed_digest(feed))


def _expose(model: ModelProto, names: Sequence[str]) -> ModelProto:
    """The model with those tensors among its outputs; the graph's own outputs go."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if names:
        del copy.graph.output[:]
        copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return copy


def _count(histogram: StreamingHistogram, array: Any, name: str, number: int) -> None:
    import numpy as np

    if not np.isfinite(array).all():
        raise ModelError(
            f"tensor {name!r} turns NaN or Inf on sample {number}",
            place="calibration",
            hint="look at that sample, and run the FP32 model on it: no range can hold this tensor",
        )
    histogram.add(array)


def _range(histogram: StreamingHistogram, threshold: Callable[[Any], float]) -> TensorRange:
    counted = histogram.result()
    if counted.amax == 0:  # always zero: any scale is right
        return TensorRange(amax=1.0, seen_min=0.0, seen_max=0.0, clipped=0.0)
    amax = float(threshold(counted))
    return TensorRange(amax, histogram.seen_min, histogram.seen_max, counted.clipped(amax))
