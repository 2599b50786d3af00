"""The proof: comparisons, gates and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trtbuild.artifacts.files import StoredFile


@dataclass(frozen=True)
class WorstElement:
    """The element with the largest absolute error.

    Attributes:
        sample: Index of the sample it is in.
        index: Its index in that output.
        reference: Value of the reference there.
        subject: Value of the subject there.
    """

    sample: int
    index: tuple[int, ...]
    reference: float
    subject: float


@dataclass(frozen=True)
class ScoreAgreement:
    """Agreement of the two sides where an output's last axis is read as scores of classes.

    It says something about logits and probabilities, and nothing about other outputs.

    Attributes:
        classes: Size of the last axis.
        rows: How many vectors of scores were compared.
        top1: Share of them whose largest score is at the same class.
        top5: Mean share of the five largest classes (of all, where there are fewer) that are among the five on the
            other side.
        kl: Mean Kullback-Leibler divergence of softmax(subject) from softmax(reference), nats; None where every vector
            has NaN or Inf.
    """

    classes: int
    rows: int
    top1: float
    top5: float
    kl: float | None


@dataclass(frozen=True)
class OutputComparison:
    """One output of the subject against the reference, over all samples.

    Attributes:
        output: Output name.
        max_abs: Largest absolute error, in the output's unit.
        mean_abs: Mean absolute error.
        cosine: Mean cosine similarity of the rows (axis 0 are rows, the rest is flattened).
        cosine_min: The smallest of them.
        sqnr_db: Signal to quantisation noise: 10 log10(sum r^2 / sum (r - s)^2); None when there is no error.
        nonfinite: Count of NaN and Inf in the subject where the reference is finite.
        reference_range: Smallest and largest value of the reference.
        subject_range: Smallest and largest value of the subject.
        worst: The element with the largest absolute error; None when there is no error.
        psnr_db: Peak signal to noise: 10 log10(peak^2 / mean squared error), the peak being the width of the
            reference's range; None when there is no error or no width.
        p99_abs: 99 % of the absolute errors are at most this, within 0.8 %; None where it was not measured.
        max_rel: Largest |r - s| / |r|, elements with r = 0 left out; None where it was not measured.
        p99_rel: 99 % of those are at most this, within 0.8 %; None where it was not measured.
        scores: Agreement of scores along the last axis; None where there is no such axis, or it was not measured.
    """

    output: str
    max_abs: float
    mean_abs: float
    cosine: float
    cosine_min: float
    sqnr_db: float | None
    nonfinite: int
    reference_range: tuple[float, float]
    subject_range: tuple[float, float]
    worst: WorstElement | None
    psnr_db: float | None = None
    p99_abs: float | None = None
    max_rel: float | None = None
    p99_rel: float | None = None
    scores: ScoreAgreement | None = None


@dataclass(frozen=True)
class GateResult:
    """One rule of the accuracy gate and how it came out.

    Attributes:
        rule: The rule in words, for example ``cosine >= 0.995``.
        value: What was measured.
        limit: What it was held to.
        passed: Whether it holds.
        source: ``spec`` or ``default for int8``.
        undecided: Why the samples cannot tell whether it holds, and how many could; empty where they can. What cannot
            be told has not passed.
    """

    rule: str
    value: float
    limit: float
    passed: bool
    source: str
    undecided: str = ""

    @property
    def verdict(self) -> Literal["passed", "not passed", "cannot tell"]:
        """The verdict in words."""
        if self.passed:
            return "passed"
        return "cannot tell" if self.undecided else "not passed"


@dataclass(frozen=True)
class TaskScore:
    """A task metric before and after, on labelled held-out data.

    Attributes:
        metric: Its name.
        reference: Score of the FP32 reference.
        subject: Score of the subject.
        samples: How many rows it was taken on.
        drop_interval: 95 % bootstrap interval of the drop (reference - subject), rows resampled in pairs; None where a
            score is NaN or Inf.
        drop_at_most: With 95 % confidence the drop on all such data is at most this, whatever the scores' distribution;
            None where it was not worked out.
        span: The most that two scores can differ by, which that bound rests on.
    """

    metric: str
    reference: float
    subject: float
    samples: int
    drop_interval: tuple[float, float] | None = None
    drop_at_most: float | None = None
    span: float = 1.0

    @property
    def drop(self) -> float:
        """How much the score fell."""
        return self.reference - self.subject


@dataclass(frozen=True)
class ShapeCheck:
    """Both sides at one set of axis sizes of a profile, on held-out rows repeated or cut to that size.

    Attributes:
        profile: Index of the profile.
        sizes: Axis name to size.
        value: The rule's metric at these sizes, of the worst output.
        nonfinite: Count of NaN and Inf that the reference has not.
        passed: Whether the rule holds there.
    """

    profile: int
    sizes: Mapping[str, int]
    value: float
    nonfinite: int
    passed: bool


@dataclass(frozen=True)
class Verification:
    """The proof: a subject against the FP32 reference on held-out inputs.

    Attributes:
        subject: ``engine`` when the plan itself ran on a GPU; ``typed onnx`` when the exact ONNX that was compiled ran
            in ONNX Runtime instead.
        subject_digest: Digest of what ran.
        plan: Digest of the plan this speaks for; None when no plan is concerned.
        reference_digest: Digest of the reference.
        outputs: Comparison of each output.
        task: Task metric; None when the spec names none.
        gates: The rules applied; all must pass.
        samples: Number of held-out samples.
        synthetic: True when the inputs were random numbers.
        data: Digest of the samples.
        notes: What a reader should know.
        shapes: What came of other sizes of the profiles than the samples have.
        golden: Golden requests that were kept, the index last; empty where none were.
    """

    subject: Literal["engine", "typed onnx", "callable"]
    subject_digest: str
    plan: str | None
    reference_digest: str
    outputs: tuple[OutputComparison, ...]
    task: TaskScore | None
    gates: tuple[GateResult, ...]
    samples: int
    synthetic: bool
    data: str
    notes: tuple[str, ...] = ()
    shapes: tuple[ShapeCheck, ...] = ()
    golden: tuple[StoredFile, ...] = ()

    @property
    def passed(self) -> bool:
        """True when every rule holds."""
        return all(gate.passed for gate in self.gates)
