"""The rules that a verification must pass, and the metrics they are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import GateResult, OutputComparison, Precision, TaskScore
from trtbuild.errors import FeedError, UsageError
from trtbuild.sources import code_digest_of, load_callable, user_code

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

FIDELITY = ("cosine", "sqnr")
"""Metrics of the subject against the reference; anything else is a task metric, taken on both against labels."""

TOP1 = "top1"
"""The task metric that needs no code of the user's."""

DEFAULT_COSINE: Mapping[Precision, float] = {
    "fp32": 0.9999, "tf32": 0.9995, "fp16": 0.999, "bf16": 0.99, "int8_weights": 0.99, "int8": 0.95, "fp8": 0.95,
    "int4": 0.95, "best": 0.95,
}  # fmt: skip
"""Smallest mean cosine that passes when the spec names no rule: FP16 is not held to FP32's, nor INT8 to FP16's."""


@dataclass(frozen=True)
class Rule:
    """What must hold.

    Attributes:
        metric: ``cosine``, ``sqnr``, ``top1``, or ``file.py:function``.
        min: Smallest value that passes.
        max_drop: Largest drop of a task metric against the reference that passes.
        source: Where the rule comes from.
    """

    metric: str
    min: float | None = None
    max_drop: float | None = None
    source: str = "spec"

    def __post_init__(self) -> None:
        """A rule about an unknown metric, or one that holds nothing and so would pass everything, is refused."""
        if self.metric not in (*FIDELITY, TOP1) and ":" not in self.metric:
            raise UsageError(
                f"there is no metric {self.metric!r}", place="metric", hint="cosine, sqnr, top1, or file.py:function"
            )
        if self.metric in FIDELITY and self.max_drop is not None:
            raise UsageError(
                f"max_drop is for task metrics; {self.metric} compares with the reference already",
                place=self.metric,
                hint="give min",
            )
        if self.min is None and self.max_drop is None:
            raise UsageError("the rule says nothing about what passes", place=self.metric, hint="give min or max_drop")

    @classmethod
    def default(cls, precision: Precision) -> Rule:
        """The rule for a precision when nobody named one."""
        return cls("cosine", min=DEFAULT_COSINE[precision], source=f"default for {precision}")

    @property
    def is_task(self) -> bool:
        """Whether the metric is taken against labels."""
        return self.metric not in FIDELITY

    def digest(self, folder: Path) -> str:
        """What stands for the metric's code in a key."""
        return code_digest_of(self.metric, folder) if ":" in self.metric else self.metric


class TaskMetric:
    """Scores both sides row by row.

    Args:
        rule: Names the metric.
        folder: Where a metric's relative path starts.
    """

    def __init__(self, rule: Rule, folder: Path) -> None:
        self.name = rule.metric
        self._score: Callable[[Mapping[str, Array], Any], Any] = _top1
        if rule.metric != TOP1:
            self._score = load_callable(rule.metric, folder)
        self._reference = self._subject = 0.0
        self._rows = 0

    def add(self, reference: Mapping[str, Array], subject: Mapping[str, Array], labels: Any, rows: int) -> None:
        """Takes one sample: outputs of both sides by name, and its labels."""
        with user_code(self.name, FeedError):
            before, after = self._score(reference, labels), self._score(subject, labels)
        self._reference += _mean(before) * rows
        self._subject += _mean(after) * rows
        self._rows += rows

    def result(self) -> TaskScore:
        """Mean scores over the rows."""
        rows = max(self._rows, 1)
        return TaskScore(self.name, self._reference / rows, self._subject / rows, self._rows)


def _mean(score: Any) -> float:
    import numpy as np

    return float(np.asarray(score, np.float64).mean())


def _top1(outputs: Mapping[str, Array], labels: Any) -> Array:
    import numpy as np

    if labels is None:
        raise FeedError("top1 needs labels", place="accuracy.data", hint="yield (feed, labels) pairs, one label a row")
    logits = next(iter(outputs.values()))
    return np.asarray(logits.reshape(len(logits), -1).argmax(axis=1) == np.asarray(labels).reshape(-1))


def judge(rule: Rule, outputs: Sequence[OutputComparison], task: TaskScore | None) -> tuple[GateResult, ...]:
    """Holds the measurements against the rule; NaN and Inf come first."""
    bad = sum(o.nonfinite for o in outputs)
    gates = [GateResult("no NaN or Inf that the reference has not", float(bad), 0.0, bad == 0, "always")]
    if task is not None:
        if rule.max_drop is not None:
            drop = task.reference - task.subject
            gates.append(
                _gate(f"{task.metric} drop <= {rule.max_drop:g}", drop, rule.max_drop, drop <= rule.max_drop, rule)
            )
        if rule.min is not None:
            gates.append(
                _gate(f"{task.metric} >= {rule.min:g}", task.subject, rule.min, task.subject >= rule.min, rule)
            )
    elif rule.min is not None:
        values = [_fidelity(rule.metric, o) for o in outputs]
        value = min(values, default=0.0)
        gates.append(_gate(f"{rule.metric} >= {rule.min:g}", value, rule.min, value >= rule.min, rule))
    return tuple(gates)


def _fidelity(metric: str, output: OutputComparison) -> float:
    if metric == "cosine":
        return output.cosine
    return output.sqnr_db if output.sqnr_db is not None else 999.0  # no error at all


def _gate(text: str, value: float, limit: float, passed: bool, rule: Rule) -> GateResult:
    return GateResult(text, value, limit, passed, rule.source)
