"""What can still be gained when thresholds are set: weight clipping and bias correction, each only where it helps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.artifacts import CalibrationTable, TriedTransform
from trtbuild.errors import UsageError
from trtbuild.precision.bias_correction import correct_biases
from trtbuild.quantization import Fidelity, FormatName, Placement, write_qdq
from trtbuild.registry import nearest_hint

if TYPE_CHECKING:
    from onnx import ModelProto

    from trtbuild.feeds import Sample

REFINEMENTS = ("weight_clipping", "bias_correction")
"""In the order they are tried; the second compensates the rounding that the first has chosen."""
WORTH_DB = 0.1
"""One that brings less than this is not kept: a few samples cannot tell it from chance."""


@dataclass(frozen=True)
class Refinement:
    """What ``write_qdq`` is to be called with.

    Attributes:
        model: The FP32 model, with corrected biases where that was kept.
        clip_weights: Whether weight clipping was kept.
        tried: What was tried, in order.
        judged_on: Rows that decided.
    """

    model: ModelProto
    clip_weights: bool
    tried: tuple[TriedTransform, ...]
    judged_on: int


def refine(
    model: ModelProto,
    placement: Placement,
    table: CalibrationTable,
    judge: Iterable[Sample],
    *,
    refinements: Sequence[str] = REFINEMENTS,
    formats: Mapping[str, FormatName] | FormatName = "int8",
) -> Refinement:
    """Tries refinements and keeps those that help.

    Args:
        model: The FP32 model, weights in memory, its nodes named; left unchanged.
        placement: Where its Q/DQ pairs go.
        table: Its calibration table.
        judge: Samples that the table was not made from.
        refinements: Which to try, of ``REFINEMENTS``.
        formats: What each node is stored in, as for ``write_qdq``.

    Raises:
        UsageError: There is no such refinement.
        FeedError: There is no sample to judge with.
    """
    for name in refinements:
        if name not in REFINEMENTS:
            raise UsageError(f"there is no refinement {name!r}", hint=nearest_hint(name, REFINEMENTS))
    samples = list(judge)
    fidelity = Fidelity(model, samples)
    amax = {name: seen.amax for name, seen in table.ranges.items()}
    best, clip = model, False
    tried: list[TriedTransform] = []
    before = fidelity.sqnr_db(write_qdq(model, placement, amax, formats=formats))
    for name in (r for r in REFINEMENTS if r in refinements):
        if name == "weight_clipping":
            trial, change = best, "clips each channel's largest weights where that lowers its squared error"
        else:
            corrected = correct_biases(best, placement, table.channels, formats=formats, clip_weights=clip)
            trial = corrected.model
            change = f"corrects the bias of {len(corrected.corrected)} of {len(placement.nodes)} quantised nodes"
        clips = clip or name == "weight_clipping"
        after = fidelity.sqnr_db(write_qdq(trial, placement, amax, formats=formats, clip_weights=clips))
        kept = after >= before + WORTH_DB
        tried.append(TriedTransform(name, change, before, after, kept))
        if kept:
            best, clip, before = trial, clips, after
    return Refinement(best, clip, tuple(tried), sum(s.rows for s in samples))
