"""Finds where two forms of one model part: the tensors, the nodes, the cause, and the smallest part that shows it.

The subject's graph is cut at every tensor that the reference has too. Each part runs on the reference's values, so that
its own error is seen apart from what came down to it. The parts that add most are then healed one at a time, their tensor
replaced by the reference's, to see what each of them does to the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import Diagnosis, StoredFile, Suspect, TensorError
from trtbuild.debugging.alignment import Segment, pairs, segments
from trtbuild.debugging.causes import Scene, cause_of
from trtbuild.debugging.measuring import errors_of, reference_values
from trtbuild.debugging.parts import RESULT, cut, exposing, run
from trtbuild.debugging.reduction import reduce_to
from trtbuild.errors import FeedError, IntegrityError
from trtbuild.matrixops import lowest_precision, node_precisions
from trtbuild.metrics import PairStatistics

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    Arrays = Mapping[str, NDArray[Any]]

BOUND_DB: Mapping[str, float] = {"fp32": 60, "fp16": 30, "bf16": 20}
"""What a tensor is held to when nobody says, by the subject's precision, dB; 10 for what is quantised."""

EXACT_DB = 999.0
_CANDIDATES = 8
_SHOWN = 5

__all__ = ["BOUND_DB", "debug"]


def debug(
    reference: Path | StoredFile,
    subject: Path | StoredFile,
    feed: Mapping[str, Any],
    *,
    bound_db: float | None = None,
    budget_mb: float = 512,
    reduced: Path | None = None,
    on_progress: Callable[[float, str], None] = lambda _share, _said: None,
) -> Diagnosis:
    """Looks for the place where a subject's numbers leave its reference's.

    Args:
        reference: The ONNX file that is right.
        subject: The ONNX file that is not: rewritten, or typed. FP16 and BF16 are emulated.
        feed: One feed of both; a few rows do.
        bound_db: SQNR that each tensor is held to, dB; by the subject's precision when left out.
        budget_mb: What tensors that are kept for comparison may take together, MB (10^6 bytes).
        reduced: Folder for the smallest part that still fails.
        on_progress: Told the share done and what is going on.

    Returns:
        Every tensor's error, the first past the bound, the nodes that add most with their causes, and advice.

    Raises:
        IntegrityError: The two have no tensor in common.
    """
    right, mine = _stored(reference), _stored(subject)
    before, after = onnxfile.load(right.path), onnxfile.load(mine.path)
    if not feed:
        raise FeedError("there is no sample to run", place="debug", hint="give --data a reader that yields one")
    parts = segments(after, pairs(before, after))
    if not parts:
        raise IntegrityError(
            "the two models have no tensor in common", place=str(mine.path), hint="debug a model with what it was made of"
        )
    bound = bound_db if bound_db is not None else BOUND_DB.get(lowest_precision(node_precisions(after).values()), 10)
    tensors = []
    for error in errors_of(before, after, parts, feed, budget_mb * 1e6):
        tensors.append(error)
        on_progress(0.7 * len(tensors) / len(parts), error.tensor)
    names = [o.name for o in after.graph.output]
    wanted = run(exposing(before, names), feed)
    output_db, cosine = _outputs(wanted, run(exposing(after, names), feed))
    suspects = []
    chosen = _candidates(parts, tensors, bound)
    for number, (segment, error) in enumerate(chosen):
        on_progress(0.7 + 0.3 * number / len(chosen), f"without the error of {segment.main.name}")
        known = {**feed, **reference_values(before, [segment], feed)}
        healed = _outputs(wanted, _healed(after, segment, known, names))
        suspects.append(_suspect(before, after, segment, error, known, healed))
    suspects.sort(key=_gravity)
    first = next((t.tensor for t in tensors if t.nonfinite or _db(t.sqnr_db) < bound), None)
    done = Diagnosis(
        right.digest, mine.digest, bound, output_db, cosine, tuple(tensors), first, tuple(suspects[:_SHOWN]),
        _advice(suspects, output_db, cosine), next(iter(feed.values())).shape[0] if next(iter(feed.values())).ndim else 1,
        (f"{len(parts)} of {sum(len(n.output) for n in after.graph.node)} tensors are in both graphs",),
    )  # fmt: skip
    if reduced is None or not suspects or (first is None and _db(output_db) >= bound):
        return done
    worst = next(s for s in parts if s.tensor == suspects[0].tensor)
    files, command = reduce_to(reduced, before, after, worst, {**feed, **reference_values(before, [worst], feed)}, bound)
    return replace(done, reduced=files, command=command)


def _stored(file: Path | StoredFile) -> StoredFile:
    return file if isinstance(file, StoredFile) else onnxfile.stored(Path(file))


def _db(value: float | None) -> float:
    return EXACT_DB if value is None else value


def _candidates(
    parts: Sequence[Segment], tensors: Sequence[TensorError], bound: float
) -> list[tuple[Segment, TensorError]]:
    """The parts that turn values NaN or Inf first, in order; then those that add most error, and the first past the bound."""
    both = list(zip(parts, tensors, strict=True))
    broken = [p for p in both if p[1].local_nonfinite][:2]
    first = [p for p in both if _db(p[1].local_db) < bound][:1]
    noisy = sorted(both, key=lambda p: _db(p[1].local_db))[:_CANDIDATES]
    chosen = {p[0].tensor: p for p in (*broken, *first, *noisy) if p[1].local_nonfinite or p[1].local_db is not None}
    return list(chosen.values())


def _healed(subject: ModelProto, segment: Segment, known: Arrays, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The subject's outputs with one tensor replaced by the reference's."""
    begins = [*(v.name for v in subject.graph.input), segment.tensor]
    model = cut(subject, list(subject.graph.node), {n: n + RESULT for n in names}, begins)
    found = run(model, known)
    if segment.tensor in names:
        found[segment.tensor + RESULT] = known[segment.tensor]
    return found


def _outputs(wanted: Arrays, got: Arrays) -> tuple[float | None, float]:
    """SQNR of the worst output, None where one has NaN or Inf; and the smallest mean cosine."""
    worst, cosine, broken = EXACT_DB, 1.0, False
    for name, right in wanted.items():
        statistics = PairStatistics(name)
        statistics.add(right, got[name] if got[name].shape == right.shape else right * float("nan"))
        found = statistics.result()
        broken = broken or bool(found.nonfinite)
        worst, cosine = min(worst, _db(found.sqnr_db)), min(cosine, found.cosine)
    return (None if broken else worst), cosine


def _suspect(
    before: ModelProto,
    after: ModelProto,
    segment: Segment,
    error: TensorError,
    known: Arrays,
    healed: tuple[float | None, float],
) -> Suspect:
    cause, explanation = cause_of(Scene(before, after, segment, known, error.local_nonfinite))
    return Suspect(
        segment.main.name, segment.main.op_type, segment.tensor, cause, explanation,
        None if error.local_nonfinite else _db(error.local_db), healed[0], healed[1],
        tuple(n.name or n.op_type for n in segment.nodes),
    )  # fmt: skip


def _gravity(suspect: Suspect) -> tuple[bool, float]:
    """NaN and Inf first; then by how good the outputs become without it."""
    return suspect.local_db is not None, -_gain(suspect)


def _gain(suspect: Suspect) -> float:
    return -EXACT_DB if suspect.healed_db is None else suspect.healed_db


def _advice(suspects: Sequence[Suspect], output_db: float | None, cosine: float) -> tuple[str, ...]:
    """What to write into the spec, for what a spec can mend."""
    said = []
    for suspect in suspects[:_SHOWN]:
        better = f"cosine {cosine:.4f} -> {suspect.healed_cosine:.4f}" + (
            "" if output_db is None or suspect.healed_db is None else f", SQNR {output_db:.1f} -> {suspect.healed_db:.1f} dB"
        )
        if suspect.cause == "overflow":
            said.append(f'precision_overrides: {{"{suspect.node}": fp32}}   # {better}')
        elif suspect.cause in ("rounding", "bad scale") and output_db is not None and _gain(suspect) > output_db + 0.1:
            said.append(f'precision_overrides: {{"{suspect.node}": fp16}}   # {better}, this node exact')
        elif suspect.cause in ("bad weight", "other weight", "swapped inputs"):
            said.append(f"mend {suspect.node}: {suspect.explanation}   # {better}")
            break
        elif suspect.cause == "other operators":
            said.append(f"rewrite: {{skip: [the rule that made {suspect.node}]}}   # {better}")
            break
    return tuple(said)
