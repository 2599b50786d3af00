"""Whether a drop of a task metric is small enough, and whether the rows at hand can tell.

Scores of both sides are taken on the same rows, so what counts is each row's difference. Two figures come of them:

- a 95 % bootstrap interval of the mean drop (B. Efron, 1979; percentile method), which shows how far it may lie;
- a one-sided 95 % upper bound that holds for any distribution of scores in a known span and for any number of rows: the
  betting bound of I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting" (2023).
  A bootstrap of twelve equal rows would claim certainty; this bound does not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
_RESAMPLES = 10_000
_STAKE = 0.75  # of the capital, the most that one row may lose
_VALUES_AT_A_TIME = 4_000_000


def bootstrap_interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of the mean, rows resampled 10,000 times with a fixed seed.

    Args:
        differences: One difference a row, shape ``[rows]``, at least one.
    """
    import numpy as np

    random = np.random.default_rng(0)
    rows = len(differences)
    at_a_time = max(1, _VALUES_AT_A_TIME // rows)
    means: list[NDArray[np.float64]] = []
    for start in range(0, _RESAMPLES, at_a_time):
        count = min(at_a_time, _RESAMPLES - start)
        means.append(differences[random.integers(rows, size=(count, rows))].mean(axis=1))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def upper_bound(differences: NDArray[np.float64], span: float) -> float:
    """What the mean difference of all such data is at most, with 95 % confidence.

    Against each candidate mean ``m`` a gambler bets that rows lie below it; were ``m`` right, 20-fold capital would be
    reached with a probability of 5 % at most. The bound is the largest ``m`` that leaves the gambler with less.

    Args:
        differences: One difference a row, shape ``[rows]``, none larger than ``span`` either way.
        span: The most that two scores can differ by; 0 when all scores are equal by nature.
    """
    import numpy as np

    if span <= 0:
        return 0.0
    if not np.isfinite(differences).all():
        return math.inf
    rows = len(differences)
    x = (np.random.default_rng(0).permutation(differences) + span) / (2 * span)  # the order must not be the data's own
    count = np.arange(1, rows + 1)
    mean = (0.5 + np.cumsum(x)) / (count + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (count + 1)
    known = np.concatenate([[0.25], variance[:-1]])  # a bet knows the rows before its own only
    bets = np.sqrt(2 * math.log(1 / (1 - CONFIDENCE)) / (rows * known))

    def capital(m: float) -> float:
        return float(np.log1p(np.minimum(bets, _STAKE / max(1 - m, 1e-12)) * (m - x)).sum())

    low, high = float(x.mean()), 1.0
    if capital(high) < math.log(1 / (1 - CONFIDENCE)):
        return span
    for _step in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if capital(middle) >= math.log(1 / (1 - CONFIDENCE)) else (middle, high)
    return high * 2 * span - span


def rows_needed(drop: float, max_drop: float, span: float) -> int | None:
    """About how many rows could show that the drop is below ``max_drop``; None where it is at the limit already."""
    room = max_drop - max(drop, 0.0)
    if room <= 0 or span <= 0:
        return None
    unseen = math.log(1 / (1 - CONFIDENCE)) / _STAKE * span / room
    return math.ceil(unseen * (1 + 2 * max(drop, 0.0) / room))
