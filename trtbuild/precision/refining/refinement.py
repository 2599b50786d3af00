"""What can still be gained when thresholds are set: clipping, rounding, bias correction, each only where it helps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trtbuild.artifacts import CalibrationTable, TriedTransform
from trtbuild.errors import UsageError
from trtbuild.precision.refining.bias_correction import correct_biases
from trtbuild.precision.refining.empirical_bias import correct_measured_biases
from trtbuild.precision.refining.rounding import round_weights
from trtbuild.quantization import Fidelity, FormatName, Placement, QuantizedWeight, write_qdq
from trtbuild.registry import nearest_hint

if TYPE_CHECKING:
    from onnx import ModelProto

    from trtbuild.feeds import Sample

REFINEMENTS = ("weight_clipping", "weight_rounding", "bias_correction", "empirical_bias_correction")
_FITTED = ("weight_rounding", "empirical_bias_correction")  # on rows that do not judge
"""In the order they are tried: each goes on from the scales and the numbers that were chosen before it."""
WORTH_DB = 0.1
"""One that brings less than this is not kept: a few samples cannot tell it from chance."""


@dataclass(frozen=True)
class Refinement:
    """What ``write_qdq`` is to be called with.

    Attributes:
        model: The FP32 model, with corrected biases where that was kept.
        clip_weights: Whether weight clipping was kept.
        rounded: Node to its weight where weight rounding was kept; empty otherwise.
        tried: What was tried, in order.
        judged_on: Rows that decided.
    """

    model: ModelProto
    clip_weights: bool
    rounded: Mapping[str, QuantizedWeight]
    tried: tuple[TriedTransform, ...]
    judged_on: int


def refine(
    model: ModelProto,
    placement: Placement,
    table: CalibrationTable,
    judge: Iterable[Sample],
    *,
    fit: Iterable[Sample] = (),
    refinements: Sequence[str] = REFINEMENTS,
    formats: Mapping[str, FormatName] | FormatName = "int8",
) -> Refinement:
    """Tries refinements and keeps those that help.

    Args:
        model: The FP32 model, weights in memory, its nodes named; left unchanged.
        placement: Where its Q/DQ pairs go.
        table: Its calibration table.
        judge: Samples that the table was not made from.
        fit: Samples that weights are rounded on and biases measured on, none that judges; neither is tried without.
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
    kept = Refinement(model, clip_weights=False, rounded={}, tried=(), judged_on=sum(s.rows for s in samples))
    tried: list[TriedTransform] = []

    def quantized(trial: Refinement) -> ModelProto:
        return write_qdq(
            trial.model, placement, amax, formats=formats, clip_weights=trial.clip_weights, rounded=trial.rounded
        )

    before = fidelity.sqnr_db(quantized(kept))
    fitting = list(fit) if any(r in refinements for r in _FITTED) else []
    for name in (r for r in REFINEMENTS if r in refinements and (r not in _FITTED or fitting)):
        trial, change = _trial(name, kept, model, quantized, placement, table, formats, fitting)
        after = fidelity.sqnr_db(quantized(trial))
        better = after >= before + WORTH_DB
        tried.append(TriedTransform(name, change, before, after, better))
        if better:
            kept, before = trial, after
    return replace(kept, tried=tuple(tried))


def _trial(
    name: str,
    now: Refinement,
    exact: ModelProto,
    quantized: Callable[[Refinement], ModelProto],
    placement: Placement,
    table: CalibrationTable,
    formats: Mapping[str, FormatName] | FormatName,
    fit: Sequence[Sample],
) -> tuple[Refinement, str]:
    """What one refinement makes of what was kept so far, and what it does in words."""
    if name == "weight_clipping":
        change = "clips each channel's largest weights where that lowers its squared error"
        return replace(now, clip_weights=True), change
    if name == "weight_rounding":
        made = round_weights(now.model, placement, table, fit, formats=formats, clip_weights=now.clip_weights)
        change = f"rounds the weights of {len(made)} of {len(placement.nodes)} quantised nodes so that errors make up"
        return replace(now, rounded=made), f"{change} for each other"
    if name == "bias_correction":
        done = correct_biases(
            now.model, placement, table.channels, formats=formats, clip_weights=now.clip_weights, rounded=now.rounded
        )
    else:
        done = correct_measured_biases(exact, now.model, quantized(now), placement, fit)
    change = f"corrects the bias of {len(done.corrected)} of {len(placement.nodes)} quantised nodes"
    return replace(now, model=done.model), change
