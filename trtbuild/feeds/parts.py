"""Samples in two parts: one fits, the other judges what was fitted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from trtbuild.artifacts import TensorSpec
from trtbuild.content import feed_digest
from trtbuild.feeds.checks import batch_axis, check_feed
from trtbuild.feeds.samples import JUDGE_EVERY, Sample, Samples


def checked(samples: Iterable[Any], inputs: Sequence[TensorSpec]) -> Iterator[Sample]:
    """Samples as they are, and dicts from input name to array held against the model's inputs.

    Raises:
        FeedError: A dict does not fit the model; it is named by its number.
    """
    for number, item in enumerate(samples):
        yield item if isinstance(item, Sample) else _sample(check_feed(item, inputs, f"sample {number}"))


def parts(
    samples: Samples | Iterable[Mapping[str, Any]] | Iterable[Sample], inputs: Sequence[TensorSpec]
) -> tuple[Iterable[Sample], Iterable[Sample]]:
    """The part that fits and the part that judges.

    Where the inputs share a batch axis every fourth row judges, beginning with the second, else every fourth sample;
    so the parts do not depend on the batch size. The part that judges is empty where there is only one.

    Args:
        samples: A source of samples, samples, or dicts from input name to array.
        inputs: The model's inputs.
    """
    if isinstance(samples, Samples):
        return samples.part("fit"), samples.part("judge")
    fit: list[Sample] = []
    judge: list[Sample] = []
    axis = batch_axis(inputs)
    cut = {t.name for t in inputs if axis is not None and t.shape[:1] == (axis,)}
    start = 0
    for number, sample in enumerate(checked(samples, inputs)):
        if not cut:
            (judge if number % JUDGE_EVERY == 1 else fit).append(sample)
            continue
        chosen = [row for row in range(sample.rows) if (start + row) % JUDGE_EVERY == 1]
        others = [row for row in range(sample.rows) if (start + row) % JUDGE_EVERY != 1]
        start += sample.rows
        for part, rows in ((judge, chosen), (fit, others)):
            if rows:
                part.append(_sample({n: a[rows] if n in cut else a for n, a in sample.feed.items()}))
    return fit, judge


def _sample(feed: Mapping[str, Any]) -> Sample:
    return Sample(feed, None, feed_digest(feed))
