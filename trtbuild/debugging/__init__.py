"""Finds where two forms of one model part: the tensors, the nodes, the cause, and the smallest part that shows it.

The subject's graph is cut at every tensor that the reference has too. Each part runs on the reference's values, so that
its own error is seen apart from what came down to it. The parts that add most are then healed one at a time, their own
error taken away and all other left, to see what each of them does to the outputs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import Diagnosis, StoredFile, Suspect, TargetRates, TensorError, WrongEdit
from trtbuild.debugging.advice import advice
from trtbuild.debugging.alignment import Segment, nodes_between, pairs, segments
from trtbuild.debugging.causes import Scene, cause_of
from trtbuild.debugging.measuring import Healed, errors_of, without_own_error
from trtbuild.debugging.parts import RESULT, Graph, cut, exposing, run
from trtbuild.debugging.reduction import reduce_to
from trtbuild.debugging.scales import BAD_SCALE_DB
from trtbuild.errors import FeedError, IntegrityError
from trtbuild.matrixops import axis_sizes, lowest_precision, node_precisions
from trtbuild.metrics import PairStatistics
from trtbuild.roofline import override_share

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
    edits: Sequence[WrongEdit] = (),
    rates: TargetRates | None = None,
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
        edits: Rewrite edits that are known to make the outputs differ: the advice names their rules.
        rates: A target's figures, for what the advice is estimated to cost in time.
        on_progress: Told the share done and what is going on.

    Returns:
        Every tensor's error, the first past the bound, the nodes that add most with their causes, and advice.

    Raises:
        IntegrityError: The two have no tensor in common.
    """
    right, mine = _stored(reference), _stored(subject)
    if not feed:
        raise FeedError("there is no sample to run", place="debug", hint="give --data a reader that yields one")
    with tempfile.TemporaryDirectory(prefix="trtbuild-") as scratch:
        search = _Search(right.path, mine.path, Path(scratch), feed, rates, on_progress)
        bound = bound_db if bound_db is not None else BOUND_DB.get(search.precision, 10)
        tensors = search.tensors(budget_mb * 1e6)
        suspects = search.suspects(tensors, bound, budget_mb * 1e6)
        rows = next(iter(feed.values())).shape
        said = advice(suspects, search.output_db, search.output_cosine, edits)
        done = Diagnosis(
            right.digest, mine.digest, bound, search.output_db, search.output_cosine, tensors,
            next((t.tensor for t in tensors if t.nonfinite or _db(t.sqnr_db) < bound), None),
            suspects, said, rows[0] if rows else 1, search.notes, edits=tuple(edits),
        )  # fmt: skip
        if reduced is None:
            return done
        held = next(((s, b) for s in suspects if (b := _fails(s, bound)) is not None), None)
        if held is None:
            spread = "no part fails alone, so nothing was reduced: the error is spread over many nodes"
            return replace(done, notes=(*done.notes, spread))
        files, command = search.reduce(held[0], reduced, held[1])
        return replace(done, reduced=files, command=command)


class _Search:
    """The two graphs, their parts and their outputs, while a place is looked for."""

    def __init__(
        self,
        reference: Path,
        subject: Path,
        scratch: Path,
        feed: Arrays,
        rates: TargetRates | None,
        on_progress: Callable[[float, str], None],
    ) -> None:
        self._before, self._after = Graph.of(reference, scratch / "reference"), Graph.of(subject, scratch / "subject")
        _hold_alike(self._before.model, self._after.model, feed, str(subject))
        self._typed = onnxfile.load(subject)  # as it is in the file: what causes and reduced models are about
        self._feed, self._rates, self._tell = feed, rates, on_progress
        self._parts = segments(self._after.model, pairs(self._before.model, self._after.model))
        if not self._parts:
            raise IntegrityError(
                "the two models have no tensor in common",
                place=str(subject),
                hint="debug a model with what it was made of",
            )
        self._paired = pairs(self._before.model, self._typed)
        self._as_typed = {s.tensor: s for s in segments(self._typed, self._paired)}
        self._by_node = {s.main.name: s for s in self._as_typed.values() if s.main.name}
        self._names = [o.name for o in self._after.model.graph.output]
        self._wanted = self._run(self._before, exposing(self._before.model, self._names))
        got = self._run(self._after, exposing(self._after.model, self._names))
        self.output_db, self.output_cosine = _outputs(self._wanted, got)
        self.precision = lowest_precision(node_precisions(self._typed).values())
        self.notes = (f"{len(self._parts)} tensors are in both graphs and were compared",)

    def _run(self, graph: Graph, part: ModelProto, known: Arrays | None = None) -> dict[str, NDArray[Any]]:
        return run(part, {**self._feed, **(known or {})}, graph.folder)

    def tensors(self, budget: float) -> tuple[TensorError, ...]:
        """The error of every tensor that both have."""
        found = []
        for error in errors_of(self._before, self._after, self._parts, self._feed, budget):
            found.append(error)
            self._tell(0.7 * len(found) / len(self._parts), error.tensor)
        return tuple(found)

    def suspects(self, tensors: Sequence[TensorError], bound: float, budget: float) -> tuple[Suspect, ...]:
        """The parts that add most, each with its cause and with what the outputs are without it; worst first."""
        chosen = _candidates(self._parts, tensors, bound)
        errors = {segment.tensor: error for segment, error in chosen}
        found = []
        healed = without_own_error(self._before, self._after, [s for s, _ in chosen], self._feed, budget)
        for number, each in enumerate(healed):
            name = each.segment.main.name or each.segment.tensor
            self._tell(0.7 + 0.3 * number / len(chosen), f"without the error of {name}")
            error = errors[each.segment.tensor]
            typed = self._as_typed.get(each.segment.tensor) or self._by_node.get(name, each.segment)
            without = _outputs(self._wanted, self._without(each))
            known = {**self._feed, **each.known}
            cause, explanation = cause_of(
                Scene(self._before, self._typed, typed, self._paired, known, error.local_nonfinite)
            )
            found.append(Suspect(
                name, each.segment.main.op_type, typed.tensor, cause, explanation,
                None if error.local_nonfinite else _db(error.local_db), without[0], without[1],
                tuple(n.name or n.op_type for n in typed.nodes), self._time_share(name),
            ))  # fmt: skip
        return tuple(sorted(found, key=_gravity)[:_SHOWN])

    def _time_share(self, node: str) -> float | None:
        """What the graph's time becomes with a quantised node in FP16, estimated."""
        if self._rates is None or node_precisions(self._typed).get(node, "fp32") in ("fp32", "fp16", "bf16"):
            return None
        whole = self._before.model
        sizes = axis_sizes(whole, {name: array.shape for name, array in self._feed.items()})
        return override_share(whole, self._typed, self._rates, sizes, node, "fp16")

    def _without(self, healed: Healed) -> dict[str, NDArray[Any]]:
        """The subject's outputs without the error that one part adds itself."""
        model, tensor = self._after.model, healed.segment.tensor
        wide = f"{tensor}/wide"  # what is read of an emulated tensor: not rounded, so it cannot overflow
        replaced = wide if any(wide in n.output for n in model.graph.node) else tensor
        begins = [*(v.name for v in model.graph.input), replaced]
        nodes = nodes_between(model, self._names, [replaced])
        part = cut(model, nodes, {n: n + RESULT for n in self._names}, begins)
        found = self._run(self._after, part, {replaced: healed.value})
        if tensor in self._names:
            found[tensor + RESULT] = healed.value
        return found

    def reduce(self, suspect: Suspect, folder: Path, bound: float) -> tuple[dict[str, StoredFile], str]:
        """Writes the suspect's part into a folder."""
        segment = next(s for s in (*self._as_typed.values(), *self._parts) if s.tensor == suspect.tensor)
        return reduce_to(folder, self._before, self._typed, segment, self._paired, self._feed, bound)


def _hold_alike(reference: ModelProto, subject: ModelProto, feed: Arrays, place: str) -> None:
    """Refuses two graphs that cannot be run on one feed and compared."""
    hint = "debug a model with what it was made of"
    for value in (v.name for model in (reference, subject) for v in onnxfile.inputs(model)):
        if value not in feed:
            raise IntegrityError(f"nothing is fed to the input {value!r}", place=place, hint=hint)
    there = {o.name for o in reference.graph.output}
    for name in (o.name for o in subject.graph.output):
        if name not in there:
            raise IntegrityError(f"the reference has no output {name!r}", place=place, hint=hint)


def _stored(file: Path | StoredFile) -> StoredFile:
    return file if isinstance(file, StoredFile) else onnxfile.stored(Path(file))


def _db(value: float | None) -> float:
    return EXACT_DB if value is None else value


def _candidates(
    parts: Sequence[Segment], tensors: Sequence[TensorError], bound: float
) -> list[tuple[Segment, TensorError]]:
    """The first parts that make NaN or Inf, the first past the bound, bad scales, and those that add most error."""
    both = list(zip(parts, tensors, strict=True))
    broken = [p for p in both if p[1].local_nonfinite][:2]
    first = [p for p in both if _db(p[1].local_db) < bound][:1]
    scales = sorted((p for p in both if p[1].scale_loss_db >= BAD_SCALE_DB), key=lambda p: -p[1].scale_loss_db)[:2]
    noisy = sorted(both, key=lambda p: _db(p[1].local_db))[:_CANDIDATES]
    chosen = {
        p[0].tensor: p for p in (*broken, *first, *scales, *noisy) if p[1].local_nonfinite or p[1].local_db is not None
    }
    return list(chosen.values())


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


def _fails(suspect: Suspect, bound: float) -> float | None:
    """The bound that a part by itself fails, dB; None where it fails none that it should hold.

    A part within the bound still fails the one that it would hold with the scale that was found for it.
    """
    if suspect.local_db is None or suspect.local_db < bound:
        return bound
    return suspect.local_db + BAD_SCALE_DB / 2 if suspect.cause == "bad scale" else None


def _gravity(suspect: Suspect) -> tuple[bool, bool, float]:
    """NaN and Inf first, in the graph's order; then what is wrong before what is rounded, by what it costs."""
    if suspect.local_db is None:
        return False, False, 0.0
    return True, suspect.cause == "rounding", -_gain(suspect)


def _gain(suspect: Suspect) -> float:
    return -EXACT_DB if suspect.healed_db is None else suspect.healed_db
