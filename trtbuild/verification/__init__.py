"""The verify stage: the plan, or the exact ONNX that was compiled, against the FP32 reference on held-out inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import EnginePlan, OptimizationProfile, StoredFile, TypedOnnx, Verification
from trtbuild.content import feed_digest, json_digest
from trtbuild.emulation import emulate, uses_low_precision
from trtbuild.errors import FeedError, IntegrityError, UsageError
from trtbuild.feeds import Sample, Samples, check_feed, check_within_profiles, row_digests
from trtbuild.metrics import PairStatistics
from trtbuild.verification.gates import Rule, TaskMetric, judge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Outputs = Mapping[str, NDArray[Any]]

PACKAGES = ("onnx", "onnxruntime", "polygraphy", "numpy")
_CHUNK = 16  # feeds in flight: Polygraphy keeps every output of a run in memory

__all__ = ["PACKAGES", "Rule", "TaskMetric", "verify"]


def verify(
    reference: StoredFile | Path | str,
    subject: TypedOnnx | StoredFile | EnginePlan | Path | str,
    samples: Samples | Iterable[Mapping[str, Any]] | Iterable[Sample],
    *,
    rule: Rule | None = None,
    profiles: Sequence[OptimizationProfile] = (),
    calibrated_on: Sequence[str] = (),
    folder: Path | None = None,
    on_sample: Callable[[int], None] = lambda _rows: None,
) -> Verification:
    """Runs both sides on the same inputs, through Polygraphy, and judges the difference.

    Args:
        reference: The FP32 ONNX.
        subject: What was compiled (typed ONNX), or the plan itself where this machine has its GPU.
        samples: Held-out feeds, with labels for a task metric.
        rule: What must hold; by default a cosine that fits the subject's precision.
        profiles: When given, a sample outside of them is an error: the engine could not take it.
        calibrated_on: Digests of the calibration's rows; verifying on one of them is refused.
        folder: Where a metric's relative path starts.
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
    before, after = _stored(reference), _subject_file(subject)
    engine = subject if isinstance(subject, EnginePlan) else None
    precision = subject.precision if isinstance(subject, (TypedOnnx, EnginePlan)) else "fp32"
    chosen = rule or Rule.default(precision)
    inputs = onnxfile.inputs(onnxfile.load(before.path, weights=False))
    task = TaskMetric(chosen, folder or Path.cwd()) if chosen.is_task else None
    statistics: dict[str, PairStatistics] = {}
    digests, rows = [], 0
    pairs = _pairs(before.path, after.path, engine, _checked(samples, inputs, profiles, set(calibrated_on)))
    for sample, left, right in pairs:
        _hold_outputs(left, right)
        for name, array in left.items():
            statistics.setdefault(name, PairStatistics(name)).add(array, right[name])
        if task is not None:
            task.add(left, right, sample.labels, sample.rows)
        digests.append(sample.labelled_digest)
        rows += sample.rows
        on_sample(rows)
    if not digests:
        raise FeedError("there is no held-out sample", place="accuracy.data", hint="the reader must yield at least one")
    outputs = tuple(s.result() for s in statistics.values())
    score = task.result() if task else None
    return Verification(
        subject="engine" if engine else "typed onnx",
        subject_digest=engine.plan.digest if engine else after.digest,
        plan=engine.plan.digest if engine else None,
        reference_digest=before.digest,
        outputs=outputs,
        task=score,
        gates=judge(chosen, outputs, score),
        samples=rows,
        synthetic=isinstance(samples, Samples) and samples.synthetic,
        data=json_digest(digests),
        notes=_notes(engine, after.path),
    )


def _stored(model: StoredFile | Path | str) -> StoredFile:
    return model if isinstance(model, StoredFile) else onnxfile.stored(Path(model))


def _subject_file(subject: Any) -> StoredFile:
    if isinstance(subject, TypedOnnx):
        return subject.model
    return subject.plan if isinstance(subject, EnginePlan) else _stored(subject)


def _notes(engine: EnginePlan | None, subject: Path) -> tuple[str, ...]:
    if engine is not None:
        return (f"the plan ran on this machine's GPU ({engine.target.compute_capability})",)
    notes = ["not run on a GPU: the exact ONNX that was compiled ran in ONNX Runtime instead of the plan"]
    if uses_low_precision(onnxfile.load(subject, weights=False)):
        notes.append("FP16 and BF16 were emulated: every result rounded to its type")
    return tuple(notes)


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
    reference: Path, subject: Path, engine: EnginePlan | None, samples: Iterator[Sample]
) -> Iterator[tuple[Sample, Outputs, Outputs]]:
    """Runs chunk after chunk through Polygraphy's comparator; yields each sample with both sides' outputs."""
    from polygraphy.backend.onnxrt import OnnxrtRunner
    from polygraphy.comparator import Comparator
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    left = _ready(reference)
    runners = [OnnxrtRunner(left, name="reference")]
    if engine is None:
        runners.append(OnnxrtRunner(_ready(subject), name="subject"))
    while chunk := list(islice(samples, _CHUNK)):
        feeds = [dict(s.feed) for s in chunk]
        results = Comparator.run(runners, data_loader=feeds)
        if engine is None:
            other: Any = results["subject"]
        else:
            from trtbuild.enginerun import run_plan

            other = run_plan(engine, feeds).outputs
        for sample, mine, theirs in zip(chunk, results["reference"], other, strict=True):
            yield sample, dict(mine.items()), dict(theirs.items())


def _ready(path: Path) -> Any:
    """An ONNX Runtime session, FP16 and BF16 emulated where the graph uses them."""
    from trtbuild.onnxrun import session

    if path.suffix != ".onnx":
        raise UsageError(
            "this is not an ONNX file", place=str(path), hint="a plan is verified on the machine that has its GPU"
        )
    model = onnxfile.load(path)
    return session(emulate(model)) if uses_low_precision(model) else session(path)


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
