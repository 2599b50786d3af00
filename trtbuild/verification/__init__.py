"""The verify stage: the plan, or the exact ONNX that was compiled, against the FP32 reference on held-out inputs.

ONNX runs through Polygraphy's comparator and plans through its runner. Its own comparison passes where either of two
tolerances holds and knows nothing of tasks, so the judging is ours: ``metrics``, ``gates`` and ``noninferiority``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import golden, onnxfile
from trtbuild.artifacts import (
    EnginePlan,
    GateResult,
    OptimizationProfile,
    Precision,
    ShapeCheck,
    StoredFile,
    TensorSpec,
    TypedOnnx,
    Verification,
)
from trtbuild.content import feed_digest, json_digest
from trtbuild.errors import FeedError, IntegrityError, UsageError
from trtbuild.feeds import Sample, Samples, check_feed, check_within_profiles, row_digests
from trtbuild.matrixops import lowest_precision, node_precisions
from trtbuild.metrics import PairStatistics
from trtbuild.verification.gates import FIDELITY, Rule, judge
from trtbuild.verification.shapes import feeds_of_sizes
from trtbuild.verification.subjects import CallableModel, Comparable, Subject, subject_of
from trtbuild.verification.task import TaskMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Outputs = Mapping[str, NDArray[Any]]

PACKAGES = ("onnx", "onnxruntime", "polygraphy", "numpy")
_CHUNK = 16  # feeds in flight: their outputs are all in memory

__all__ = ["FIDELITY", "PACKAGES", "CallableModel", "Comparable", "Rule", "TaskMetric", "verify", "verify_against"]


def verify(
    reference: Comparable,
    subject: Comparable,
    samples: Samples | Iterable[Mapping[str, Any]] | Iterable[Sample],
    *,
    rule: Rule | None = None,
    profiles: Sequence[OptimizationProfile] = (),
    calibrated_on: Sequence[str] = (),
    folder: Path | None = None,
    inputs: Sequence[TensorSpec] | None = None,
    golden_folder: Path | None = None,
    golden_requests: int = 8,
    on_sample: Callable[[int], None] = lambda _rows: None,
) -> Verification:
    """Runs both sides on the same inputs and judges the difference.

    Args:
        reference: What is right: the FP32 ONNX as a rule. An ONNX file, a plan, or a callable.
        subject: What is compared with it: what was compiled (typed ONNX), the plan itself where this machine has its
            GPU, or anything the reference may be.
        samples: Held-out feeds, with labels for a task metric.
        rule: What must hold; by default a cosine that fits the subject's precision.
        profiles: When given, a sample outside of them is an error, since the engine could not take it; and both sides
            run at the sizes of each profile that the first sample has not, held to the default of the subject's
            precision, or to the rule's own cosine where that is looser.
        calibrated_on: Digests of the calibration's rows; verifying on one of them is refused.
        folder: Where a metric's relative path starts.
        inputs: The model's inputs, where neither side is an ONNX file or a plan.
        golden_folder: Where to keep the first samples and the reference's answers as golden requests.
        golden_requests: How many of them at most.
        on_sample: Called with the rows done so far.

    Returns:
        The comparison of every output, and every gate with its value. ``passed`` says whether all of them hold.

    Raises:
        FeedError: A sample does not fit, or was used for calibration.
        IntegrityError: The two sides have other outputs.

    Example:
        >>> import tempfile, numpy as np, onnx, onnx.parser
        >>> text = '''<ir_version: 9, opset_import: ["": 17]> g (float[n, 2] x) => (float[n, 2] y) { y = Relu (x) }'''
        >>> path = tempfile.mkdtemp() + "/m.onnx"
        >>> onnx.save(onnx.parser.parse_model(text), path)
        >>> verify(path, path, [{"x": np.ones((1, 2), np.float32)}], rule=Rule("cosine", min=0.999)).passed
        True
    """
    before, after = subject_of(reference), subject_of(subject)
    fallback = Rule.default(_precision(subject, after))
    chosen = rule or fallback
    known = tuple(inputs) if inputs is not None else _inputs(before, after)
    task = TaskMetric(chosen, folder or Path.cwd()) if chosen.is_task else None
    seen = _Seen(task, golden_requests if golden_folder is not None else 0)
    for sample, left, right in _pairs(before, after, _checked(samples, known, profiles, set(calibrated_on))):
        seen.add(sample, left, right)
        on_sample(seen.rows)
    if seen.first is None:
        raise FeedError("there is no held-out sample", place="accuracy.data", hint="the reader must yield at least one")
    outputs = tuple(s.result() for s in seen.statistics.values())
    score = task.result() if task else None
    shapes, at_shapes = _at_other_sizes(before, after, seen.first, known, profiles, _looser(chosen, fallback))
    kept_files: tuple[StoredFile, ...] = ()
    if golden_folder is not None and seen.kept:
        held_to = _fields(fallback if chosen.is_task else chosen)
        recorded = golden.record(golden_folder, known, seen.kept, reference=before.digest, rule=held_to)
        kept_files = recorded.all_files()
    return Verification(
        subject=after.kind,
        subject_digest=after.digest,
        plan=after.plan.plan.digest if after.plan else None,
        reference_digest=before.digest,
        outputs=outputs,
        task=score,
        gates=(*judge(chosen, outputs, score), *at_shapes),
        samples=seen.rows,
        synthetic=isinstance(samples, Samples) and samples.synthetic,
        data=json_digest(seen.digests),
        notes=after.notes,
        shapes=shapes,
        golden=kept_files,
    )


@dataclass
class _Seen:
    """What is gathered over the samples.

    Attributes:
        task: The task metric; None where the rule has none.
        keep: How many samples to keep as golden requests.
        statistics: Output name to its comparison so far.
        digests: Of the samples.
        rows: Their rows.
        kept: The first of them, with the reference's answers.
        first: The first one.
    """

    task: TaskMetric | None
    keep: int
    statistics: dict[str, PairStatistics] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)
    rows: int = 0
    kept: list[golden.GoldenRequest] = field(default_factory=list)
    first: Sample | None = None

    def add(self, sample: Sample, reference: Outputs, subject: Outputs) -> None:
        """Takes one sample with both sides' outputs."""
        _compare(self.statistics, reference, subject)
        if self.task is not None:
            self.task.add(reference, subject, sample.labels, sample.rows)
        if len(self.kept) < self.keep:
            self.kept.append(golden.GoldenRequest(sample.feed, reference))
        self.first = self.first or sample
        self.digests.append(sample.labelled_digest)
        self.rows += sample.rows


def verify_against(recorded: golden.GoldenRequests, subject: Comparable, *, rule: Rule | None = None) -> Verification:
    """Holds a subject against golden requests that an earlier ``verify`` kept.

    Args:
        recorded: What ``golden.read`` returned.
        subject: An ONNX file, a plan, or a callable.
        rule: What must hold; the recorded one when left out.

    Raises:
        IntegrityError: A request is not the one that was recorded, or the outputs are others.
    """
    after = subject_of(subject)
    chosen = rule or _rule(recorded.rule)
    statistics: dict[str, PairStatistics] = {}
    digests, rows = [], 0
    for request in recorded:
        feed = check_feed(request.feed, recorded.inputs, "golden request")
        _compare(statistics, request.answer, after.run([feed])[0])
        digests.append(feed_digest(feed))
        rows += Sample(feed, None, "").rows
    outputs = tuple(s.result() for s in statistics.values())
    return Verification(
        after.kind, after.digest, after.plan.plan.digest if after.plan else None, recorded.reference, outputs, None,
        judge(chosen, outputs, None), rows, synthetic=False, data=json_digest(digests), notes=after.notes,
    )  # fmt: skip


def _fields(rule: Rule) -> dict[str, Any]:
    return {
        "metric": rule.metric,
        "min": rule.min,
        "max": rule.max,
        "source": rule.source,
        "outputs": {name: _fields(own) for name, own in rule.outputs.items()},
    }


def _rule(fields: Mapping[str, Any]) -> Rule:
    return Rule(
        fields["metric"], min=fields["min"], max=fields["max"], source=fields["source"],
        outputs={name: _rule(own) for name, own in fields["outputs"].items()},
    )  # fmt: skip


def _inputs(*sides: Subject) -> tuple[TensorSpec, ...]:
    """The inputs, from the first side that says them."""
    for side in sides:
        if side.file is not None:
            return onnxfile.inputs(onnxfile.load(side.file, weights=False))
        if side.plan is not None:
            return side.plan.inputs
    raise UsageError(
        "neither side says what its inputs are", place="verify", hint="let one of the two be an ONNX file or a plan"
    )


def _checked(samples: Any, inputs: Any, profiles: Sequence[OptimizationProfile], used: set[str]) -> Iterator[Sample]:
    for number, item in enumerate(samples):
        sample = item
        if not isinstance(item, Sample):
            feed = check_feed(item, inputs, f"sample {number}")
            sample = Sample(feed, None, feed_digest(feed))
        known = next((row for row, digest in enumerate(row_digests(sample, inputs)) if digest in used), None)
        if known is not None:
            raise FeedError(
                f"row {known} of held-out sample {number} was used for calibration",
                place="accuracy.data",
                hint="a result on calibration data proves nothing: give accuracy.data other samples",
            )
        outside = check_within_profiles(sample, inputs, profiles) if profiles else None
        if outside:
            raise FeedError(
                f"sample {number}: {outside}", place="accuracy.data", hint="widen the profile, or cut the sample"
            )
        yield sample


def _pairs(
    reference: Subject, subject: Subject, samples: Iterator[Sample]
) -> Iterator[tuple[Sample, Outputs, Outputs]]:
    """Each sample with both sides' outputs, chunk after chunk."""
    while chunk := list(islice(samples, _CHUNK)):
        feeds = [dict(s.feed) for s in chunk]
        yield from zip(chunk, reference.run(feeds), subject.run(feeds), strict=True)


def _compare(statistics: dict[str, PairStatistics], left: Outputs, right: Outputs) -> None:
    _hold_outputs(left, right)
    for name, array in left.items():
        statistics.setdefault(name, PairStatistics(name, detailed=True)).add(array, right[name])


def _at_other_sizes(
    reference: Subject,
    subject: Subject,
    sample: Sample,
    inputs: Sequence[TensorSpec],
    profiles: Sequence[OptimizationProfile],
    rule: Rule,
) -> tuple[tuple[ShapeCheck, ...], tuple[GateResult, ...]]:
    checks = []
    for number, sizes, feed in feeds_of_sizes(sample.feed, inputs, profiles):
        statistics: dict[str, PairStatistics] = {}
        _compare(statistics, reference.run([feed])[0], subject.run([feed])[0])
        bad, held = judge(rule, [s.result() for s in statistics.values()], None)
        checks.append(ShapeCheck(number, sizes, held.value, int(bad.value), bad.passed and held.passed))
    if not checks:
        return (), ()
    worst, limit = rule.worst([c.value for c in checks]), rule.min or 0.0
    text = f"at {len(checks)} other sizes of the profiles: {rule.text}, no NaN or Inf"
    return tuple(checks), (GateResult(text, worst, limit, all(c.passed for c in checks), rule.source),)


def _looser(rule: Rule, fallback: Rule) -> Rule:
    """What cut and repeated rows are held to: their error is not that of real data."""
    own = rule.min if rule.metric == "cosine" and rule.min is not None else 1.0
    return fallback if own >= (fallback.min or 0.0) else Rule("cosine", min=own, source=rule.source)


def _precision(given: Comparable, subject: Subject) -> Precision:
    """What the subject computes in, of what is known; of an ONNX file, the lowest that its matrix nodes do."""
    if isinstance(given, (TypedOnnx, EnginePlan)):
        return given.precision
    if subject.file is None:
        return "fp32"
    return lowest_precision(node_precisions(onnxfile.load(subject.file)).values())


def _hold_outputs(left: Outputs, right: Outputs) -> None:
    if set(left) != set(right):
        raise IntegrityError(
            f"the two sides have other outputs: {sorted(left)} and {sorted(right)}",
            place="verify",
            hint="compare a model with what was made from it",
        )
    for name, array in left.items():
        if array.shape != right[name].shape:
            raise IntegrityError(
                f"output {name!r} is {list(array.shape)} on one side and {list(right[name].shape)} on the other",
                place="verify",
                hint="compare a model with what was made from it",
            )
