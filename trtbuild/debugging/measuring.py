"""The error of every tensor that two graphs share: what has come down to it, and what the part before it adds itself.

Tensors are gone through in chunks that fit a budget, so that exposing everything never runs out of memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import TensorError
from trtbuild.debugging.alignment import Segment
from trtbuild.debugging.parts import RESULT, Graph, cut, exposing, run
from trtbuild.debugging.scales import costs, quantised
from trtbuild.matrixops import tensor_bytes
from trtbuild.metrics import PairStatistics

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    Arrays = Mapping[str, NDArray[Any]]

_COPIES = 4  # of a tensor at a time: the reference's, the subject's, its own, and one where a runtime works on it


def errors_of(
    reference: Graph, subject: Graph, parts: Sequence[Segment], feed: Arrays, budget: float
) -> Iterator[TensorError]:
    """The error of every segment's tensor, in order.

    Args:
        reference: What is right.
        subject: What is held against it.
        parts: The subject's segments, in order.
        feed: Inputs of both.
        budget: Bytes that kept tensors may take together.
    """
    for chunk in _chunks(reference, parts, feed, budget):
        yield from _errors(reference, subject, chunk, feed)


def _errors(reference: Graph, subject: Graph, chunk: Sequence[Segment], feed: Arrays) -> list[TensorError]:
    """One chunk's; its tensors are gone when this returns."""
    known, there, own = _values(reference, subject, chunk, feed)
    found = []
    for segment in chunk:
        right = known[segment.tensor]
        came = _compared(segment.tensor, right, there[segment.tensor + RESULT])
        added = _compared(segment.tensor, right, own[segment.tensor + RESULT])
        found.append(TensorError(
            segment.tensor, segment.main.name, came.sqnr_db, added.sqnr_db, came.nonfinite, added.nonfinite,
            came.reference_range,
            max((costs(x, scale)[0] for _n, x, scale in quantised(subject.model, segment, known)), default=0.0),
        ))  # fmt: skip
    return found


def reference_values(reference: Graph, parts: Sequence[Segment], feed: Arrays) -> dict[str, NDArray[Any]]:
    """The reference's values of what the segments make and begin at, by the subject's names."""
    names = {mine: theirs for s in parts for mine, theirs in (*s.begins.items(), (s.tensor, s.reference))}
    made = run(exposing(reference.model, list(dict.fromkeys(names.values()))), feed, reference.folder)
    return {mine: made[theirs + RESULT] for mine, theirs in names.items()}


@dataclass(frozen=True)
class Healed:
    """A part with its own error taken away.

    Attributes:
        segment: The part.
        value: Its tensor with the error that came down to it and none of its own; the reference's where either has NaN
            or Inf, or another shape.
        known: The reference's values of what it begins at and of what it makes, by the subject's names.
    """

    segment: Segment
    value: NDArray[Any]
    known: Arrays


def without_own_error(
    reference: Graph, subject: Graph, parts: Sequence[Segment], feed: Arrays, budget: float
) -> Iterator[Healed]:
    """Some parts, each with its own error taken away; arguments as for ``errors_of``."""
    for chunk in _chunks(reference, parts, feed, budget):
        yield from _without(reference, subject, chunk, feed)


def _without(reference: Graph, subject: Graph, chunk: Sequence[Segment], feed: Arrays) -> list[Healed]:
    known, there, own = _values(reference, subject, chunk, feed)
    found = []
    for segment in chunk:
        right = known[segment.tensor]
        value = _healed(right, there[segment.tensor + RESULT], own[segment.tensor + RESULT])
        found.append(Healed(segment, value, {n: known[n] for n in (*segment.begins, segment.tensor)}))
    return found


def _healed(right: NDArray[Any], came: NDArray[Any], own: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    if came.shape != right.shape or own.shape != right.shape:
        return right
    with np.errstate(invalid="ignore", over="ignore"):
        healed = came.astype(np.float64) + (right.astype(np.float64) - own.astype(np.float64))
    return np.where(np.isfinite(healed), healed, right).astype(right.dtype)


def _values(
    reference: Graph, subject: Graph, chunk: Sequence[Segment], feed: Arrays
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """The reference's values of a chunk, the subject's, and those of its parts fed with the reference's."""
    known = reference_values(reference, chunk, feed)
    there = run(exposing(subject.model, [s.tensor for s in chunk]), feed, subject.folder)
    own = run(_local(subject.model, chunk), {**feed, **known}, subject.folder)
    return known, there, own


def _local(subject: ModelProto, chunk: Sequence[Segment]) -> ModelProto:
    """One model that makes each segment's tensor from the reference's values of what it begins at."""
    nodes = {id(n) for s in chunk for n in s.nodes}
    begins = dict.fromkeys(r for s in chunk for r in s.reads)
    ordered = [n for n in subject.graph.node if id(n) in nodes]
    return cut(subject, ordered, {s.tensor: s.tensor + RESULT for s in chunk}, list(begins))


def _compared(name: str, right: NDArray[Any], mine: NDArray[Any]) -> Any:
    statistics = PairStatistics(name)
    if right.shape != mine.shape:
        mine = mine.reshape(right.shape) if mine.size == right.size else right * float("nan")
    statistics.add(right, mine)
    return statistics.result()


def _chunks(reference: Graph, parts: Sequence[Segment], feed: Arrays, budget: float) -> Iterator[list[Segment]]:
    """Consecutive segments whose tensors, and those they begin at, fit the budget; at least one at a time."""
    sizes = tensor_bytes(reference.model, {n: a.shape for n, a in feed.items()})
    chunk: list[Segment] = []
    held: set[str] = set()
    for segment in parts:
        mine = {segment.reference, *segment.begins.values()}
        if chunk and sum(sizes.get(t, 0) for t in held | mine) > budget / _COPIES:
            yield chunk
            chunk, held = [], set()
        chunk.append(segment)
        held |= mine
    if chunk:
        yield chunk
