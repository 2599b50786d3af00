"""Writes one number format into a graph, and FP16 into the rest of it.

INT8 is the exception: what it leaves in float stays FP32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.errors import PrecisionError
from trtbuild.precision.lower import lower
from trtbuild.precision.opset import raise_opset
from trtbuild.precision.weight_scales import halve_weight_scales
from trtbuild.quantization import DOCUMENTED_BLOCKS, FORMATS, FormatName, Placement, write_qdq

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
    precision: FormatName,
    table: CalibrationTable | None,
    *,
    allow_none: bool = False,
) -> Quantized:
    """Returns a typed model with one format at all places.

    Args:
        model: The FP32 model, weights in memory; its opset is raised in place where the format needs that.
        placement: The places that fit the format.
        precision: The format.
        table: Ranges of the activations, for a format that stores them.
        allow_none: Accept that there is no place at all; INT8 accepts it always.

    Raises:
        PrecisionError: There is no place, or the model's opset cannot be raised.
    """
    kind = FORMATS[precision]
    if not placement.nodes and not allow_none and precision != "int8":
        node, reason = next(iter(placement.kept.items()), ("the model", "it has no matrix work"))
        raise PrecisionError(
            f"no node can be {precision}: {node}: {reason}",
            place="assign precision",
            hint="take fp16, or accept that with build.allow_precision_fallback: true",
        )
    raise_opset(model, kind.opset, needed_for=precision)
    amax, notes = _ranges(table, precision) if table is not None and kind.activations else ({}, [])
    typed = write_qdq(model, placement, amax, formats=precision)
    if precision == "int8":
        return Quantized(typed, placement.kept, ())
    lowered = lower(typed, "fp16")
    if not kind.activations:
        halve_weight_scales(lowered.model, {n.node for n in placement.nodes})
    notes += [f"weight {name!r} was clamped to the FP16 range" for name in lowered.clamped]
    notes += _short_blocks(model, placement, precision)
    return Quantized(lowered.model, {**lowered.kept, **placement.kept}, tuple(notes))


def _ranges(table: CalibrationTable, precision: FormatName) -> tuple[dict[str, float], list[str]]:
    """Largest |x| to keep of each activation.

    A floating-point format is as exact, relatively, far below its largest number as near it. So clipping gains nothing:
    FP8 keeps all that calibration has seen. On normal, Laplace, Student and lognormal numbers, and normal ones with
    outliers, that is within 0.6 dB of the best threshold; INT8's best one costs up to 15 dB.
    """
    if precision != "fp8":
        return {name: r.amax for name, r in table.ranges.items()}, []
    seen = {name: max(r.amax, abs(r.seen_min), abs(r.seen_max)) for name, r in table.ranges.items()}
    clipped = sum(r.amax < seen[name] for name, r in table.ranges.items())
    note = f"fp8 keeps the largest values seen: {table.method} clips {clipped} tensors, which gains nothing in fp8"
    return seen, [note] if clipped else []


def _short_blocks(model: ModelProto, placement: Placement, precision: FormatName) -> list[str]:
    """Says which weights are cut into blocks that TensorRT does not document."""
    kind = FORMATS[precision]
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    blocks = {n.node: kind.block(shapes[n.weight][n.reduced_axis]) for n in placement.nodes} if kind.blocks else {}
    short = {node: block for node, block in blocks.items() if block not in DOCUMENTED_BLOCKS}
    if not short:
        return []
    node, block = next(iter(short.items()))
    documented = " and ".join(map(str, DOCUMENTED_BLOCKS))
    first = f"{len(short)} nodes have {precision} blocks of other lengths than {documented}, first {node} with {block}"
    return [f"{first}: TensorRT-RTX builds those, TensorRT 10 and 11 do not document them"]
