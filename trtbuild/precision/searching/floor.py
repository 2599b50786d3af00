"""An accuracy floor, and how sure one can be that a graph holds it on other data.

The rows that judge candidates are few, and what is picked for looking good on them looks worse on others. So a graph
holds a floor only where a lower bound of the metric does: the value less ``t * s * sqrt(1/n + 1/n)``, with ``s`` the
spread of the rows, ``n`` their number and ``t`` Student's 95 % quantile. That is the bound of the mean over as many
other rows of the same kind. Where the rows' errors are skewed it holds a little less often (93 % for gamma-distributed
noise of shape 2 on 40 rows), and so it does for what was picked among several. With one row there is no spread to be
seen: the value itself is the bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trtbuild.quantization.fidelity import EXACT_DB, RowErrors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NORMAL_95 = 1.6448536269514722  # the normal distribution's one-sided 95 % quantile


@dataclass(frozen=True)
class Floor:
    """What the accuracy must not fall below.

    Attributes:
        metric: ``cosine`` (mean over the rows) or ``sqnr`` (dB), of the worst output against FP32.
        min: The floor.
    """

    metric: Literal["cosine", "sqnr"]
    min: float


@dataclass(frozen=True)
class Judged:
    """What a graph came to on the judging rows.

    Attributes:
        sqnr_db: SQNR of the worst output, in dB.
        cosine: Mean cosine of the worst output.
        bound: What the floor's metric is held to exceed on as many other rows, at 95 %.
    """

    sqnr_db: float
    cosine: float
    bound: float


def judged(outputs: Sequence[RowErrors], floor: Floor) -> Judged:
    """Values over all outputs: the worst of each. An output with NaN or Inf of its own is as bad as can be."""
    if any(o.nonfinite for o in outputs):
        return Judged(-EXACT_DB, -1.0, -EXACT_DB if floor.metric == "sqnr" else -1.0)
    bounds = [_sqnr_bound(o) if floor.metric == "sqnr" else _cosine_bound(o) for o in outputs]
    return Judged(
        min((_decibel(float(o.noise.sum()), float(o.signal.sum())) for o in outputs), default=EXACT_DB),
        min((float(o.cosine.mean()) for o in outputs), default=1.0),
        min(bounds, default=EXACT_DB if floor.metric == "sqnr" else 1.0),
    )


def _cosine_bound(rows: RowErrors) -> float:
    return float(rows.cosine.mean()) - _margin(rows.cosine)


def _sqnr_bound(rows: RowErrors) -> float:
    """Of a ratio of sums: the spread of the noise around its share of each row's signal, in the mean row's signal."""
    signal, noise = float(rows.signal.sum()), float(rows.noise.sum())
    if signal <= 0:
        return _decibel(noise, signal)
    ratio = noise / signal
    excess = (rows.noise - ratio * rows.signal) / rows.signal.mean()
    return _decibel(ratio + _margin(excess), 1.0)


def _margin(values: NDArray[np.float64]) -> float:
    count = len(values)
    if count < 2:
        return 0.0
    return student_95(count - 1) * float(values.std(ddof=1)) * math.sqrt(2 / count)


def student_95(freedom: int) -> float:
    """One-sided 95 % quantile of Student's t, by its expansion around the normal one (Abramowitz and Stegun, 26.7.5).

    Within 0.5 % from three degrees of freedom on; the two below are exact.
    """
    if freedom < 3:
        return {1: 6.313751514675043, 2: 2.919985580355516}[freedom]
    z, v = _NORMAL_95, float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v**power for power, term in enumerate(terms, start=1))


def _decibel(noise: float, signal: float) -> float:
    if noise <= 0:
        return EXACT_DB
    return max(-EXACT_DB, min(EXACT_DB, 10 * math.log10(max(signal, 1e-300) / noise)))
