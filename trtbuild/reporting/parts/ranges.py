"""The tensors that the calibration threshold fits worst: range, histogram, what is clipped."""

from __future__ import annotations

from typing import Any

from trtbuild.artifacts import CalibrationTable, TensorRange

SHOWN = 6
"""Tensors that a report shows."""


def ranges(table: CalibrationTable | None) -> dict[str, Any] | None:
    """How many tensors have a threshold, and the worst of them; None without calibration.

    The worst is the one with the largest share of values above its threshold; of equal shares, the one whose largest
    value lies farthest above its typical one, the mean of |x|, and so wastes most of its steps.
    """
    if table is None:
        return None
    kept = {name: r for name, r in table.ranges.items() if r.histogram}
    worst = sorted(kept, key=lambda name: (-(kept[name].clipped or 0), -_reach(kept[name]), name))[:SHOWN]
    return {
        "method": table.method,
        "tensors": len(kept),
        "clipping": sum(1 for r in kept.values() if r.clipped),
        "worst": [_tensor(name, kept[name]) for name in worst],
    }


def _tensor(name: str, seen: TensorRange) -> dict[str, Any]:
    return {
        "tensor": name,
        "threshold": seen.amax,
        "seen_min": seen.seen_min,
        "seen_max": seen.seen_max,
        "clipped": seen.clipped,
        "outliers": seen.outliers,
        "reach": _reach(seen),
        "histogram": list(seen.histogram),
        "bin_width": seen.bin_width,
    }


def _reach(seen: TensorRange) -> float:
    """The threshold over the mean of |x|, which is read from the kept bins."""
    whole = sum(seen.histogram)
    mean = sum((place + 0.5) * count for place, count in enumerate(seen.histogram)) * seen.bin_width / max(whole, 1)
    return seen.amax / mean if mean else 0.0
