"""Writes number formats into a graph, and FP16, BF16 or nothing into the rest of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from trtbuild.errors import PrecisionError
from trtbuild.precision.lowering.fragile import Rest
from trtbuild.precision.lowering.lower import Lowered, lower
from trtbuild.precision.lowering.opset import raise_opset
from trtbuild.precision.thresholds import ranges_for, seen_ranges
from trtbuild.quantization import DOCUMENTED_BLOCKS, FORMATS, FormatName, Placement, QuantizedWeight, write_qdq

if TYPE_CHECKING:
    from onnx import ModelProto

    from trtbuild.artifacts import CalibrationTable


@dataclass(frozen=True)
class Quantized:
    """What ``quantize`` did.

    Attributes:
        model: The typed model.
        kept: Node that stayed in float, or in FP32, to the reason.
        notes: What a reader should know.
    """

    model: ModelProto
    kept: Mapping[str, str]
    notes: tuple[str, ...]


def quantize(
    model: ModelProto,
    placement: Placement,
    formats: Mapping[str, FormatName] | FormatName,
    table: CalibrationTable | None,
    *,
    rest: Rest = "fp16",
    lowering: Callable[[ModelProto], Lowered] | None = None,
    clip_weights: bool = False,
    rounded: Mapping[str, QuantizedWeight] = MappingProxyType({}),
    allow_none: bool = False,
    folder: Path | None = None,
) -> Quantized:
    """Returns a typed model whose nodes are stored in the formats asked for.

    Args:
        model: The FP32 model; its opset is raised in place where a format needs that.
        placement: The places that fit their formats.
        formats: What each node of the placement is stored in; one word for all.
        table: Ranges of the activations, where a format stores them.
        rest: Precision of what is not quantised.
        lowering: Lowers the rest; by structure and the table's ranges when left out.
        clip_weights: As for ``write_qdq``.
        rounded: As for ``write_qdq``.
        allow_none: Accept that there is no place at all.
        folder: Where weights lie that are not in memory.

    Raises:
        PrecisionError: There is no place, or the model's opset cannot be raised.
    """
    chosen = {n.node: formats if isinstance(formats, str) else formats[n.node] for n in placement.nodes}
    if not chosen and not allow_none:
        raise _nothing(placement, formats if isinstance(formats, str) else "quantised")
    for name in sorted(set(chosen.values())):
        raise_opset(model, FORMATS[name].opset, needed_for=name)
    amax, notes = ranges_for(table, placement, chosen) if table is not None else ({}, [])
    typed = write_qdq(model, placement, amax, formats=chosen, clip_weights=clip_weights, rounded=rounded, folder=folder)
    notes += _short_blocks(model, placement, chosen)
    if rest == "fp32":
        return Quantized(typed, placement.kept, tuple(notes))
    lowered = lowering(typed) if lowering is not None else lower(typed, rest, ranges=seen_ranges(table), folder=folder)
    notes += [f"weight {name!r} was clamped to the {rest.upper()} range" for name in lowered.clamped]
    notes += lowered.notes
    return Quantized(lowered.model, {**lowered.kept, **placement.kept}, tuple(notes))


def _nothing(placement: Placement, what: str) -> PrecisionError:
    node, reason = next(iter(placement.kept.items()), ("the model", "it has no matrix work"))
    return PrecisionError(
        f"no node can be {what}: {node}: {reason}",
        place="assign precision",
        hint="take fp16, or accept that with build.allow_precision_fallback: true",
    )


def _short_blocks(model: ModelProto, placement: Placement, chosen: Mapping[str, FormatName]) -> list[str]:
    """Says which weights are cut into blocks that TensorRT does not document."""
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    blocks = {n.node: FORMATS[chosen[n.node]].block(shapes[n.weight][n.reduced_axis]) for n in placement.nodes}
    short = {node: block for node, block in blocks.items() if block is not None and block not in DOCUMENTED_BLOCKS}
    if not short:
        return []
    node, block = next(iter(short.items()))
    documented = " and ".join(map(str, DOCUMENTED_BLOCKS))
    first = f"int4 blocks of other lengths than {documented} in {len(short)} nodes, first {node} with {block}"
    return [f"{first}: TensorRT-RTX builds those, TensorRT 10 and 11 do not document them"]
