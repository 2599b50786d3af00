"""Calibration rows in two parts: one to fit on, one to judge what was fitted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from trtbuild.artifacts import TensorSpec
from trtbuild.content import feed_digest
from trtbuild.feeds import JUDGE_EVERY, Sample, Samples, check_feed


def checked(samples: Iterable[Any], inputs: Sequence[TensorSpec]) -> Iterator[Sample]:
    """Samples as they are, and dicts from input name to array held against the model's inputs.

    Raises:
        FeedError: A dict does not fit the model; it is named by its number.
    """
    for number, item in enumerate(samples):
        if isinstance(item, Sample):
            yield item
        else:
            feed = check_feed(item, inputs, f"sample {number}")
            yield Sample(feed, None, feed_digest(feed))


def parts(
    samples: Samples | Iterable[Mapping[str, Any]] | Iterable[Sample], inputs: Sequence[TensorSpec]
) -> tuple[Iterable[Any], Iterable[Sample]]:
    """The part that fits and the part that judges.

    ``Samples`` are cut row by row. Of plain feeds every fourth judges, for their rows cannot be told apart without the
    model's inputs. The part that judges is empty where there is only one.
    """
    if isinstance(samples, Samples):
        return samples.part("fit"), samples.part("judge")
    held = list(checked(samples, inputs))
    judge = [s for number, s in enumerate(held) if number % JUDGE_EVERY == 1]
    return [s for number, s in enumerate(held) if number % JUDGE_EVERY != 1], judge
