"""From what was seen to what is kept: a method's thresholds, as a calibration table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import ModuleType
from typing import TYPE_CHECKING

from trtbuild.artifacts import CalibrationTable, TensorRange
from trtbuild.errors import ModelError
from trtbuild.registry import Registry

if TYPE_CHECKING:
    from trtbuild.calibration.statistics import ActivationStatistics, TensorStatistics

_KEPT_BINS = 64
"""Bins of the histogram that a table keeps for a person to look at; thresholds are chosen on all of them."""

METHODS = Registry("trtbuild.calibration.methods", "calibration method")


def table_from(
    seen: ActivationStatistics, method: str, *, optional: AbstractSet[str] = frozenset(), notes: Sequence[str] = ()
) -> CalibrationTable:
    """Chooses the largest |x| to keep of every tensor.

    Args:
        seen: What one pass, or several shards merged, have seen.
        method: One of ``trtbuild methods`` that works on histograms.
        optional: Tensors that are left out, and named in the notes, where they turn NaN or Inf.
        notes: For the table.

    Raises:
        ModelError: Tensors that need a threshold turn NaN or Inf.
    """
    bad = {n: t for n, t in seen.tensors.items() if t.histogram is not None and t.nonfinite}
    _hold_finite({n: t for n, t in bad.items() if n not in optional})
    if bad:
        notes = (*notes, f"no range for {', '.join(repr(n) for n in bad)}: NaN or Inf was seen there")
    chosen = METHODS.load(method)
    return CalibrationTable(
        graph=seen.graph,
        method=method,
        data=seen.data,
        samples=len(seen.row_digests),
        row_digests=tuple(seen.row_digests),
        synthetic=seen.synthetic,
        ranges={name: _range(tensor, chosen) for name, tensor in seen.tensors.items() if name not in bad},
        channels={name: t.channels.result() for name, t in seen.tensors.items() if t.channels is not None},
        notes=tuple(notes),
    )


def _hold_finite(bad: Mapping[str, TensorStatistics]) -> None:
    """Names every tensor that no range can hold, not only the first."""
    if not bad:
        return
    lines = [f"{n!r}: {t.nonfinite} values, first on sample {t.first_nonfinite}" for n, t in bad.items()]
    raise ModelError(
        f"{len(bad)} tensors turn NaN or Inf:\n    " + "\n    ".join(lines),
        place="calibration",
        hint="look at those samples, and run the FP32 model on them: no range can hold these tensors",
    )


def _range(seen: TensorStatistics, method: ModuleType) -> TensorRange:
    low, high = (seen.low, seen.high) if seen.count else (0.0, 0.0)
    amax = max(-low, high)
    clipped, width = 0.0, 0.0
    bins: tuple[int, ...] = ()
    if seen.histogram is not None and amax > 0:
        counted = seen.histogram.result()
        amax = float(method.threshold(counted))
        clipped = counted.clipped(amax)
        bins, width = counted.coarse(_KEPT_BINS)
    return TensorRange(
        amax=amax or 1.0,  # always zero: any scale is right
        seen_min=low,
        seen_max=high,
        clipped=clipped,
        mean=seen.mean,
        outliers=seen.outliers(),
        nonfinite=seen.nonfinite,
        histogram=bins,
        bin_width=width,
    )
