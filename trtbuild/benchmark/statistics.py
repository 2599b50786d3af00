"""From the milliseconds of single calls to a latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtbuild.artifacts import PHASES, Latency, Phase

NOISY = 0.5
"""Spread from which on a median says little: half of the calls lie further apart than half of it."""


def latency(milliseconds: Sequence[float]) -> Latency:
    """Percentiles, mean and spread of at least one call; percentiles interpolate linearly between calls."""
    import numpy as np

    p25, p50, p75, p90, p95, p99 = (float(v) for v in np.percentile(milliseconds, [25, 50, 75, 90, 95, 99]))
    return Latency(
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        mean=float(np.mean(milliseconds)),
        min=float(min(milliseconds)),
        max=float(max(milliseconds)),
        spread=(p75 - p25) / p50 if p50 else 0.0,
        runs=len(milliseconds),
    )


def phases(calls: Sequence[Mapping[str, float]]) -> dict[Phase, Latency]:
    """The latency of each phase that every call tells apart."""
    return {name: latency([call[name] for call in calls]) for name in PHASES if all(name in call for call in calls)}
