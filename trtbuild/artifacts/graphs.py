"""What becomes of the graph: exported, rewritten, calibrated, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtbuild.artifacts.files import StoredFile
from trtbuild.artifacts.tensors import NodePrecision, Precision, TensorSpec


@dataclass(frozen=True)
class ShapeParity:
    """How far ONNX is from torch at one set of input shapes.

    Attributes:
        shapes: Input name to the shape used.
        max_abs: Largest absolute difference over all outputs, in the output's unit.
        max_rel: The same relative to the largest magnitude of that output.
    """

    shapes: Mapping[str, tuple[int, ...]]
    max_abs: float
    max_rel: float


@dataclass(frozen=True)
class ExportedOnnx:
    """The FP32 model as ONNX: the reference of everything that follows.

    Attributes:
        model: The ONNX file.
        inputs: Its inputs, dynamic axes by the spec's names.
        outputs: Its outputs.
        opset: Version of the default operator domain.
        exporter: ``dynamo``, ``torchscript`` or ``onnx`` (ready-made).
        parity: torch against ONNX, one row a shape; empty for a ready-made ONNX.
        notes: What a reader should know, such as a fallback from one exporter to the other.
    """

    model: StoredFile
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    exporter: str
    parity: tuple[ShapeParity, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AppliedEdit:
    """One change that a rule made.

    Attributes:
        rule: Name of the rule.
        node: The node it matched.
        change: What it did, in words.
        covers: Further nodes it took away or changed.
        made: Nodes it made.
    """

    rule: str
    node: str
    change: str
    covers: tuple[str, ...] = ()
    made: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrongEdit:
    """One change of a rule that makes the outputs differ.

    Attributes:
        edit: What the rule did, and where.
        difference: How the outputs differ with it, in words.
    """

    edit: AppliedEdit
    difference: str

    def __str__(self) -> str:
        """As a note says it."""
        return f"{self.edit.rule} at {self.edit.node}: with it, {self.difference}"


@dataclass(frozen=True)
class DeclinedMatch:
    """One place where a rule matched but did not apply, and why."""

    rule: str
    node: str
    reason: str


@dataclass(frozen=True)
class RewrittenOnnx:
    """The model after the rewrite rules: the same function, in the form TensorRT wants.

    Attributes:
        model: The ONNX file.
        inputs: Its inputs.
        outputs: Its outputs.
        applied: Edits in the order they were made.
        declined: Matches that were left alone, with the reason.
        nodes_before: Node count of the exported graph.
        nodes_after: Node count of the rewritten graph.
        notes: What a reader should know, such as edits that could not be proved by running.
        reference: The model in inference mode, where it came in training mode and so cannot be its own reference.
        unbuildable: What no rule can repair: node, module, reason, and what to do instead, one line each.
    """

    model: StoredFile
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    applied: tuple[AppliedEdit, ...]
    declined: tuple[DeclinedMatch, ...]
    nodes_before: int
    nodes_after: int
    notes: tuple[str, ...] = ()
    reference: StoredFile | None = None
    unbuildable: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChannelRange:
    """What calibration saw of a tensor's channels.

    Attributes:
        axis: The tensor's axis that they lie along.
        amax: Largest |x| seen of each, in the tensor's unit.
        mean: Mean of each, in the tensor's unit.
    """

    axis: int
    amax: tuple[float, ...]
    mean: tuple[float, ...]


@dataclass(frozen=True)
class TensorRange:
    """What calibration saw of one tensor and what it kept.

    Attributes:
        amax: Largest |x| kept, in the tensor's unit; the INT8 scale is amax / 127.
        seen_min: Smallest value seen; None, as are the next four, where the range came from TensorRT's cache.
        seen_max: Largest value seen.
        clipped: Share of the values seen whose magnitude is above ``amax`` (0 to 1).
        mean: Mean of the values seen.
        outliers: Share of the values seen (0 to 1) beyond six standard deviations.
        nonfinite: Count of NaN and Inf seen; they are in none of the other figures.
        histogram: Counts of |x| in equal bins from 0, the last of which holds the largest seen; empty where only the
            range was measured.
        bin_width: Width of such a bin, in the tensor's unit.
    """

    amax: float
    seen_min: float | None
    seen_max: float | None
    clipped: float | None
    mean: float | None = 0.0
    outliers: float | None = 0.0
    nonfinite: int = 0
    histogram: tuple[int, ...] = ()
    bin_width: float = 0.0


@dataclass(frozen=True)
class CalibrationTable:
    """Activation ranges of one graph, measured on one data set by one method.

    Attributes:
        graph: Digest of the ONNX model the ranges belong to.
        method: Name of the method that chose ``amax``; ``cache:<algorithm>`` for a table read from TensorRT's cache.
        data: Digest of the rows, whatever their order and batches; of the cache where it came from one.
        samples: How many rows were run; 0 for a cache, which does not say.
        row_digests: Digest of each row of the samples, so that verification can refuse to reuse one.
        synthetic: True when the samples were random numbers.
        ranges: Tensor name to its range.
        channels: Tensor name to the ranges of its channels, where they were measured.
        notes: What a reader should know, such as why ``auto`` chose the method.
    """

    graph: str
    method: str
    data: str
    samples: int
    row_digests: tuple[str, ...]
    synthetic: bool
    ranges: Mapping[str, TensorRange]
    channels: Mapping[str, ChannelRange] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TriedTransform:
    """A change for better numbers in low precision that was tried, and what it brought.

    Attributes:
        name: One of the spec's ``calibration.transforms``.
        change: What it does to this graph, in words.
        before_db: SQNR of the worst output without it, on calibration rows that chose nothing.
        after_db: The same with it.
        kept: Whether the graph has it.
    """

    name: str
    change: str
    before_db: float
    after_db: float
    kept: bool


@dataclass(frozen=True)
class EqualizedOnnx:
    """The model with channels balanced for low precision: the same function in FP32.

    Attributes:
        model: The ONNX file.
        tried: What was tried, in order, and whether it was kept.
        judged_on: Rows that decided.
        notes: What a reader should know.
    """

    model: StoredFile
    tried: tuple[TriedTransform, ...]
    judged_on: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TypedOnnx:
    """A strongly typed ONNX: precision lives in its Q/DQ and Cast nodes.

    Attributes:
        model: The ONNX file that goes into TensorRT.
        inputs: Its inputs.
        outputs: Its outputs.
        precision: What the spec asked for.
        assignment: Node name to what it computes in, for each node that carries matrix work (Conv, MatMul, Gemm, ...).
        macs: Node name to multiply-accumulates at the first profile's opt shape; nodes of unknown shape are missing.
        kept: Node name to the reason it stayed in a higher precision than asked for.
        notes: What a reader should know, such as constants clamped to the FP16 range.
        tried: What was tried for better numbers while Q/DQ was written, and whether it was kept.
    """

    model: StoredFile
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: Precision
    assignment: Mapping[str, NodePrecision]
    macs: Mapping[str, int]
    kept: Mapping[str, str]
    notes: tuple[str, ...] = ()
    tried: tuple[TriedTransform, ...] = ()
