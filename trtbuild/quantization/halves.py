"""Samples in two parts: some fit, others judge what was fitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trtbuild.artifacts import TensorSpec
from trtbuild.content import feed_digest
from trtbuild.feeds import JUDGE_EVERY, Sample, Samples, check_feed


def fit_and_judge(samples: Iterable[Any], inputs: Sequence[TensorSpec]) -> tuple[Iterable[Sample], Iterable[Sample]]:
    """Splits samples; where the inputs share a batch axis every fourth row judges, else every fourth sample.

    Args:
        samples: Samples, or dicts from input name to array. A ``Samples`` is read again for each pass, and so not held.
        inputs: The model's inputs.

    Returns:
        The part that fits and the part that judges.
    """
    if isinstance(samples, Samples):
        return samples.part("fit"), samples.part("judge")
    fit: list[Sample] = []
    judge: list[Sample] = []
    leading = {t.shape[0] if t.shape else None for t in inputs}
    by_row = len(leading) == 1 and isinstance(next(iter(leading)), str)
    start = 0
    for number, item in enumerate(samples):
        sample = item if isinstance(item, Sample) else _sample(check_feed(item, inputs, f"sample {number}"))
        if not by_row:
            (judge if number % JUDGE_EVERY == 1 else fit).append(sample)
            continue
        chosen = [row for row in range(sample.rows) if (start + row) % JUDGE_EVERY == 1]
        others = [row for row in range(sample.rows) if (start + row) % JUDGE_EVERY != 1]
        start += sample.rows
        for part, rows in ((judge, chosen), (fit, others)):
            if rows:
                part.append(_sample({n: a[rows] for n, a in sample.feed.items()}))
    return fit, judge


def _sample(feed: Mapping[str, Any]) -> Sample:
    return Sample(feed, None, feed_digest(feed))
