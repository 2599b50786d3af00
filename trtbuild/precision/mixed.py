"""Graphs with some nodes quantised and the rest in another precision: what a search tries and ``best`` becomes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from trtbuild.artifacts import CalibrationTable
from trtbuild.errors import PrecisionError
from trtbuild.precision.lowering.fragile import Rest
from trtbuild.precision.lowering.lower import Lowered, lower
from trtbuild.precision.thresholds import ranges_for, seen_ranges
from trtbuild.quantization import FORMATS, FormatName, Placement, QuantizedWeight, write_qdq

if TYPE_CHECKING:
    from onnx import ModelProto


def hold_mixable(formats: Mapping[str, str], rest: str) -> None:
    """Refuses a node that shall be in what a graph in ``rest`` cannot have beside it.

    Raises:
        PrecisionError: With the node, and what to ask for.
    """
    for node, kind in formats.items():
        if kind not in (*FORMATS, rest, "fp32"):
            raise PrecisionError(
                f"{node} cannot be {kind} in a graph that is {rest} otherwise",
                place="precision_overrides",
                hint=f"ask for {rest} or fp32 there, or for rest: {kind} for all that is not quantised",
            )


def write_mixed(
    model: ModelProto,
    placement: Placement,
    table: CalibrationTable,
    formats: Mapping[str, str],
    rest: Rest,
    *,
    clip_weights: bool = False,
    rounded: Mapping[str, QuantizedWeight] = MappingProxyType({}),
) -> Lowered:
    """Returns a copy of the model with the named nodes quantised, the others in ``rest``.

    Args:
        model: The FP32 model, weights in memory, its opset new enough for the formats.
        placement: Where pairs can go.
        table: Its calibration table.
        formats: Node to what it is in: a quantised format, ``rest``, or ``fp32``. A node that is not named is in
            ``rest``.
        rest: Precision of everything else.
        clip_weights: Whether a channel's largest weights may be clipped, as for ``write_qdq``.
        rounded: As for ``write_qdq``; nodes that stay in ``rest`` keep their weights.

    Raises:
        PrecisionError: A node is asked to be in what a graph in ``rest`` cannot have beside it.
    """
    low = {n.node: cast("FormatName", formats[n.node]) for n in placement.nodes if formats.get(n.node) in FORMATS}
    hold_mixable(formats, rest)
    places = placement.only(set(low))
    amax, _ = ranges_for(table, places, low)
    written = write_qdq(model, places, amax, formats=low, clip_weights=clip_weights, rounded=rounded)
    if rest == "fp32":
        return Lowered(written, {}, ())
    keep = {node: "asked to be fp32" for node, kind in formats.items() if kind == "fp32"}
    return lower(written, rest, ranges=seen_ranges(table), keep=keep)
