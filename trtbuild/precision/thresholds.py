"""Which threshold of a calibration table an activation gets in which format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtbuild.quantization import FormatName, Placement

if TYPE_CHECKING:
    from trtbuild.artifacts import CalibrationTable


def ranges_for(
    table: CalibrationTable, placement: Placement, chosen: Mapping[str, FormatName]
) -> tuple[dict[str, float], list[str]]:
    """Largest |x| to keep of each activation.

    A floating-point format is as exact, relatively, far below its largest number as near it. So clipping gains nothing:
    FP8 keeps all that calibration has seen. On normal, Laplace, Student and lognormal numbers, and normal ones with
    outliers, that is within 0.6 dB of the best threshold; INT8's best one costs up to 15 dB. A tensor that is read in
    both keeps INT8's.
    """
    readers: dict[str, set[FormatName]] = {}
    for name, tensor in [(n.node, n.activation) for n in placement.nodes] + [
        (s.conv, s.tensor) for s in placement.summands
    ]:
        readers.setdefault(tensor, set()).add(chosen[name])
    amax = {name: r.amax for name, r in table.ranges.items()}
    clipped = 0
    for name, r in table.ranges.items():
        seen = max(r.amax, -(r.seen_min or 0.0), r.seen_max or 0.0)  # a table made from TensorRT's cache has seen none
        if seen > r.amax and "fp8" in readers.get(name, ()) and "int8" not in readers[name]:
            amax[name] = seen
            clipped += 1
    note = f"fp8 keeps the largest values seen: {table.method} clips {clipped} tensors, which gains nothing in fp8"
    return amax, [note] if clipped else []


def seen_ranges(table: CalibrationTable | None) -> dict[str, tuple[float, float]]:
    """Tensor to the smallest and largest value seen; a table made from TensorRT's cache has seen none."""
    return {
        name: (r.seen_min, r.seen_max)
        for name, r in (table.ranges if table is not None else {}).items()
        if r.seen_min is not None and r.seen_max is not None
    }
