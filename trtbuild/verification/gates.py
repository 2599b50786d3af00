"""The rules that a verification must pass: defaults, what each output is held to, and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import GateResult, OutputComparison, Precision, TaskScore
from trtbuild.errors import UsageError
from trtbuild.registry import nearest_hint
from trtbuild.sources import code_digest_of
from trtbuild.verification.noninferiority import rows_needed

if TYPE_CHECKING:
    from trtbuild.spec import AccuracySpec

_EXACT_DB = 999.0  # stands for no error at all, in dB

AT_LEAST: Mapping[str, Callable[[OutputComparison], float | None]] = {
    "cosine": lambda o: o.cosine,
    "sqnr": lambda o: _EXACT_DB if o.sqnr_db is None else o.sqnr_db,
    "psnr": lambda o: _EXACT_DB if o.psnr_db is None and o.sqnr_db is None else o.psnr_db,
    "top1_agreement": lambda o: o.scores.top1 if o.scores else None,
    "top5_agreement": lambda o: o.scores.top5 if o.scores else None,
}
"""Metrics of the subject against the reference of which more is better; they take ``min``."""

AT_MOST: Mapping[str, Callable[[OutputComparison], float | None]] = {
    "max_abs": lambda o: o.max_abs,
    "p99_abs": lambda o: o.p99_abs,
    "max_rel": lambda o: o.max_rel,
    "p99_rel": lambda o: o.p99_rel,
    "kl": lambda o: None if o.scores is None else math.nan if o.scores.kl is None else o.scores.kl,
}
"""Those of which less is better; they take ``max``."""

FIDELITY = (*AT_LEAST, *AT_MOST)
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
        metric: One of ``FIDELITY``, ``top1``, or ``file.py:function``.
        min: Smallest value that passes.
        max_drop: Largest drop of a task metric against the reference that passes.
        source: Where the rule comes from.
        max: Largest value that passes, for the metrics of which less is better.
        outputs: Output name to the rule for that output, instead of this one; fidelity metrics only.
    """

    metric: str
    min: float | None = None
    max_drop: float | None = None
    source: str = "spec"
    max: float | None = None
    outputs: Mapping[str, Rule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A rule about an unknown metric, or one that holds nothing and so would pass everything, is refused."""
        if self.metric not in (*FIDELITY, TOP1) and ":" not in self.metric:
            raise UsageError(
                f"there is no metric {self.metric!r}",
                place="metric",
                hint=nearest_hint(self.metric, (*FIDELITY, TOP1)) + "; or file.py:function",
            )
        needed = {"min"} if self.metric in AT_LEAST else {"max"} if self.metric in AT_MOST else {"min", "max_drop"}
        given = {n for n in ("min", "max", "max_drop") if getattr(self, n) is not None}
        if self.metric in FIDELITY and "max_drop" in given:
            raise UsageError(
                f"max_drop is for task metrics; {self.metric} compares with the reference already",
                place=self.metric,
                hint=f"give {needed.pop()}",
            )
        if not given:
            raise UsageError(
                "the rule says nothing about what passes", place=self.metric, hint=f"give {' or '.join(sorted(needed))}"
            )
        if given - needed:
            raise UsageError(
                f"{self.metric} takes no {(given - needed).pop()}",
                place=self.metric,
                hint=f"give {' or '.join(sorted(needed))}",
            )
        for name, rule in self.outputs.items():
            if rule.is_task or rule.outputs:
                raise UsageError(
                    f"the rule for one output compares it with the reference; {rule.metric} does not",
                    place=f"outputs.{name}",
                    hint=f"one of {', '.join(FIDELITY)}",
                )

    @classmethod
    def default(cls, precision: Precision) -> Rule:
        """The rule for a precision when nobody named one."""
        return cls("cosine", min=DEFAULT_COSINE[precision], source=f"default for {precision}")

    @classmethod
    def asked(cls, asked: AccuracySpec) -> Rule:
        """The rule of a spec's accuracy block."""
        outputs = {name: cls(o.metric, min=o.min, max=o.max) for name, o in asked.outputs.items()}
        return cls(asked.metric, asked.min, asked.max_drop, max=asked.max, outputs=outputs)

    @property
    def is_task(self) -> bool:
        """Whether the metric is taken against labels."""
        return self.metric not in FIDELITY

    def digest(self, folder: Path) -> str:
        """What stands for the metric's code in a key."""
        return code_digest_of(self.metric, folder) if ":" in self.metric else self.metric

    def parameters(self) -> list[Any]:
        """JSON that stands for the rule in a key."""
        outputs = {name: rule.parameters() for name, rule in sorted(self.outputs.items())}
        return [self.metric, self.min, self.max, self.max_drop, self.source, outputs]

    def value(self, output: OutputComparison) -> float | None:
        """The fidelity metric of one output; None where the output has none, such as scores without classes."""
        return (AT_LEAST.get(self.metric) or AT_MOST[self.metric])(output)

    def holds(self, value: float) -> bool:
        """Whether a value of the fidelity metric passes; NaN does not."""
        return value >= self.min if self.min is not None else self.max is not None and value <= self.max

    def worst(self, values: Sequence[float]) -> float:
        """The value that decides; NaN where one of them is."""
        if any(math.isnan(v) for v in values):
            return math.nan
        return min(values) if self.metric in AT_LEAST else max(values)

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"{self.metric} >= {self.min:g}" if self.min is not None else f"{self.metric} <= {self.max:g}"


def judge(rule: Rule, outputs: Sequence[OutputComparison], task: TaskScore | None) -> tuple[GateResult, ...]:
    """Holds the measurements against the rule; NaN and Inf come first.

    Raises:
        UsageError: The rule is about an output, or about scores, that there are not.
    """
    bad = sum(o.nonfinite for o in outputs)
    gates = [GateResult("no NaN or Inf that the reference has not", float(bad), 0.0, bad == 0, "always")]
    if task is not None:
        gates += _task_gates(rule, task)
    else:
        gates += _fidelity_gates(rule, [o for o in outputs if o.output not in rule.outputs], "")
    known = {o.output: o for o in outputs}
    for name, own in rule.outputs.items():
        if name not in known:
            raise UsageError(f"there is no output {name!r}", place="accuracy.outputs", hint=nearest_hint(name, known))
        gates += _fidelity_gates(own, [known[name]], f"{name}: ")
    return tuple(gates)


def _fidelity_gates(rule: Rule, outputs: Sequence[OutputComparison], prefix: str) -> list[GateResult]:
    if not outputs:
        return []
    values = [value for value in map(rule.value, outputs) if value is not None]
    if not values:
        raise UsageError(
            f"{rule.metric} needs an output whose last axis holds the scores of classes",
            place=", ".join(o.output for o in outputs),
            hint="take another metric for it, such as cosine or max_abs",
        )
    worst = rule.worst(values)
    limit = rule.min if rule.min is not None else rule.max
    return [GateResult(prefix + rule.text, worst, float(limit or 0.0), rule.holds(worst), rule.source)]


def _task_gates(rule: Rule, task: TaskScore) -> list[GateResult]:
    gates = []
    if rule.max_drop is not None:
        within = task.drop <= rule.max_drop
        unsure = within and task.drop_at_most is not None and task.drop_at_most > rule.max_drop
        undecided = _cannot_tell(task, rule.max_drop) if unsure else ""
        text = f"{task.metric} drop <= {rule.max_drop:g}"
        gates.append(GateResult(text, task.drop, rule.max_drop, within and not unsure, rule.source, undecided))
    if rule.min is not None:
        passed = task.subject >= rule.min
        gates.append(GateResult(f"{task.metric} >= {rule.min:g}", task.subject, rule.min, passed, rule.source))
    return gates


def _cannot_tell(task: TaskScore, max_drop: float) -> str:
    needed = rows_needed(task.drop, max_drop, task.span)
    more = f"; about {needed:,} rows could show {max_drop:g}" if needed and needed > task.samples else ""
    return f"{task.samples:,} rows only show that the drop is at most {task.drop_at_most:.4g} (95 % confidence){more}"
