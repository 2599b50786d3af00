"""Task metrics: the user's score, or top-1, on both sides against the same labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import TaskScore
from trtbuild.errors import FeedError
from trtbuild.sources import load_callable, user_code
from trtbuild.verification.gates import TOP1, Rule
from trtbuild.verification.noninferiority import bootstrap_interval, upper_bound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


class TaskMetric:
    """Scores both sides row by row.

    A function that returns one number instead of one a row is taken to score the sample as a whole: the sample is then
    what is resampled.

    Args:
        rule: Names the metric.
        folder: Where a metric's relative path starts.
    """

    def __init__(self, rule: Rule, folder: Path) -> None:
        self.name = rule.metric
        self._score: Callable[[Mapping[str, Array], Any], Any] = _top1
        if rule.metric != TOP1:
            self._score = load_callable(rule.metric, folder)
        self._scores: list[tuple[Array, Array]] = []
        self._weights: list[Array] = []
        self._rows = 0

    def add(self, reference: Mapping[str, Array], subject: Mapping[str, Array], labels: Any, rows: int) -> None:
        """Takes one sample: outputs of both sides by name, and its labels."""
        import numpy as np

        with user_code(self.name, FeedError):
            before, after = (np.asarray(self._score(side, labels), np.float64) for side in (reference, subject))
        if before.shape != after.shape:
            raise FeedError(
                f"the metric gave {list(before.shape)} scores for one side and {list(after.shape)} for the other",
                place=self.name,
                hint="one score a row on both sides",
            )
        a_row = before.ndim == 1 and len(before) == rows
        if not a_row:
            before, after = np.array([before.mean()]), np.array([after.mean()])
        self._scores.append((before, after))
        self._weights.append(np.full(len(before), 1.0 if a_row else float(rows)))
        self._rows += rows

    def result(self) -> TaskScore:
        """Mean scores over the rows, and how far the drop can be told from them."""
        import numpy as np

        before, after = (np.concatenate(side) for side in zip(*self._scores, strict=True))
        weights = np.concatenate(self._weights)
        shares = weights / weights.mean()
        differences = (before - after) * shares
        span = _span(before, after) * float(shares.max())
        return TaskScore(
            self.name, float((before * shares).mean()), float((after * shares).mean()), self._rows,
            drop_interval=bootstrap_interval(differences) if np.isfinite(differences).all() else None,
            drop_at_most=upper_bound(differences, span),
            span=span,
        )  # fmt: skip


def _span(before: Array, after: Array) -> float:
    """The most that two scores can differ by: 1 for scores between 0 and 1, else what was seen of them."""
    import numpy as np

    both = np.concatenate([before, after])
    if not np.isfinite(both).all():
        return float("inf")
    low, high = float(both.min()), float(both.max())
    return 1.0 if low >= 0 and high <= 1 else high - low


def _top1(outputs: Mapping[str, Array], labels: Any) -> Array:
    import numpy as np

    if labels is None:
        raise FeedError("top1 needs labels", place="accuracy.data", hint="yield (feed, labels) pairs, one label a row")
    logits = next(iter(outputs.values()))
    return np.asarray(logits.reshape(len(logits), -1).argmax(axis=1) == np.asarray(labels).reshape(-1))
