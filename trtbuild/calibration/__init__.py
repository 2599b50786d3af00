"""The calibrate stage: activation ranges, measured by running the model in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from trtbuild import onnxfile
from trtbuild.artifacts import CalibrationTable, StoredFile
from trtbuild.calibration.collector import BUDGET_MB, Wanted, collect
from trtbuild.calibration.equalization import TRANSFORMS, equalize
from trtbuild.calibration.statistics import ActivationStatistics, merge
from trtbuild.calibration.table import METHODS, table_from
from trtbuild.content import json_digest
from trtbuild.feeds import Sample, Samples, parts, row_digests
from trtbuild.quantization import Fidelity, place, write_qdq
from trtbuild.quantization.names import name_nodes

PACKAGES = ("onnx", "onnxruntime", "numpy")


def calibrate(
    model: StoredFile | Path | str,
    samples: Samples | Iterable[Mapping[str, Any]] | Iterable[Sample],
    *,
    method: str = "auto",
    tensors: Sequence[str] | None = None,
    extra: Sequence[str] = (),
    ranges: Sequence[str] = (),
    keep_apart: bool = False,
    budget_mb: float = BUDGET_MB,
    on_sample: Callable[[int], None] = lambda _rows: None,
) -> CalibrationTable:
    """Measures the ranges of a model's activations in one pass and constant memory.

    Args:
        model: The rewritten FP32 ONNX; only read.
        samples: Feeds: dicts from input name to array, with the batch axis.
        method: How the largest |x| to keep is chosen; ``trtbuild methods`` lists them.
        tensors: Which tensors to measure; those where TensorRT wants a Q/DQ pair when left out.
        extra: Tensors to measure besides; one that turns NaN or Inf is left out of the table, and named in its notes.
        ranges: Tensors of which the smallest and largest value are enough; their ``amax`` is the largest magnitude.
        keep_apart: Whether every fourth row stays out of the ranges, so that what is done with the table can be judged
            on it. Such rows count as calibration rows all the same. A method that measures keeps them apart anyway.
        budget_mb: What the measured tensors may take in memory at a time, in MB.
        on_sample: Called with the rows done so far, after each feed.

    Returns:
        The table: one range a tensor, keyed by the model's and the samples' digests.

    Raises:
        FeedError: No sample, or one that does not fit the model.
        ModelError: Tensors turn NaN or Inf.

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
    chosen = METHODS.load(method)  # a wrong name is told before the work
    stored = model if isinstance(model, StoredFile) else onnxfile.stored(Path(model))
    wanted = wanted_of(stored) if tensors is None else Wanted(tuple(tensors))
    optional = frozenset(extra) - set(wanted.histograms)
    wanted = replace(
        wanted,
        histograms=(*wanted.histograms, *dict.fromkeys(t for t in extra if t in optional)),
        ranges=tuple(t for t in ranges if t not in optional and t not in wanted.histograms),
    )
    measures = hasattr(chosen, "choose")
    judge: list[Sample] = []
    source: Any = samples
    inputs = onnxfile.inputs(onnxfile.outline(stored.path))
    if measures or keep_apart:
        source, apart = parts(samples, inputs)
        judge = list(apart)
    seen = collect(stored, source, wanted, budget_mb=budget_mb, on_sample=on_sample)
    chooses = _choose(chosen, stored, seen, judge, optional) if measures else None
    table = chooses or table_from(seen, method, optional=optional)
    rows = (*table.row_digests, *(digest for sample in judge for digest in row_digests(sample, inputs)))
    return replace(table, row_digests=rows, samples=len(rows), data=json_digest(sorted(rows)))


def wanted_of(model: StoredFile) -> Wanted:
    """What INT8 needs to know of a model: the tensors where TensorRT wants a Q/DQ pair, and their channels."""
    proto = onnxfile.outline(model.path)
    name_nodes(proto)
    placement = place(proto)
    channels = {n.activation: 1 if n.op.startswith("Conv") else -1 for n in placement.nodes}
    return Wanted(placement.tensors, channels=channels)


def every_float_tensor(model: StoredFile) -> tuple[str, ...]:
    """All FP32 tensors that a model computes or is fed, in order: what TensorRT's calibration cache should hold."""
    from onnx import TensorProto

    proto = onnxfile.outline(model.path)
    weights = {t.name for t in proto.graph.initializer}
    types = onnxfile.element_types(proto)
    made = [*(v.name for v in proto.graph.input), *(t for n in proto.graph.node for t in n.output)]
    return tuple(t for t in made if t not in weights and types.get(t) == TensorProto.FLOAT)


def _choose(
    chosen: ModuleType, model: StoredFile, seen: ActivationStatistics, judge: list[Sample], optional: AbstractSet[str]
) -> CalibrationTable:
    """Lets a method choose that measures."""
    proto = onnxfile.load(model.path)
    name_nodes(proto)
    placement = place(proto)
    if not judge or not placement.nodes:
        why = "there is one sample only" if placement.nodes else "nothing is quantised"
        note = f"auto took {chosen.CANDIDATES[0]} without measuring: {why}"
        return table_from(seen, chosen.CANDIDATES[0], optional=optional, notes=(note,))
    fidelity = Fidelity(proto, judge)

    def sqnr(table: CalibrationTable) -> float:
        return fidelity.sqnr_db(write_qdq(proto, placement, {n: r.amax for n, r in table.ranges.items()}))

    rows = sum(sample.rows for sample in judge)
    found: CalibrationTable = chosen.choose(lambda name: table_from(seen, name, optional=optional), sqnr, rows)
    return found


__all__ = [
    "METHODS",
    "PACKAGES",
    "TRANSFORMS",
    "ActivationStatistics",
    "Wanted",
    "calibrate",
    "collect",
    "equalize",
    "every_float_tensor",
    "merge",
    "table_from",
    "wanted_of",
]
