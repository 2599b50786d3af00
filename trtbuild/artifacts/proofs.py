"""The proof: comparisons, gates and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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


@dataclass(frozen=True)
class GateResult:
    """One rule of the accuracy gate and how it came out.

    Attributes:
        rule: The rule in words, for example ``cosine >= 0.995``.
        value: What was measured.
        limit: What it was held to.
        passed: Whether it holds.
        source: ``spec`` or ``default for int8``.
    """

    rule: str
    value: float
    limit: float
    passed: bool
    source: str


@dataclass(frozen=True)
class TaskScore:
    """A task metric before and after, on labelled held-out data.

    Attributes:
        metric: Its name.
        reference: Score of the FP32 reference.
        subject: Score of the subject.
        samples: How many samples it was taken on.
    """

    metric: str
    reference: float
    subject: float
    samples: int


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
    """

    subject: Literal["engine", "typed onnx"]
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

    @property
    def passed(self) -> bool:
        """True when every rule holds."""
        return all(gate.passed for gate in self.gates)
