"""The error that symmetric INT8 makes on the values themselves, and the threshold that makes it smallest."""

import numpy as np


def mean_squared_error(values, amax):
    """Of magnitudes, at scale = amax / 127."""
    scale = amax / 127
    return float(((np.minimum(np.rint(values / scale), 127) * scale - values) ** 2).mean())


def best_threshold(values):
    """By brute force: 64 thresholds an octave, then 16 between the neighbours of the best of them; and its error."""
    largest = float(values.max())
    best, _ = _best_of(values, largest * 2.0 ** (-np.arange(8 * 64) / 64))
    return _best_of(values, np.minimum(best * 2.0 ** (np.linspace(-1, 1, 17) / 64), largest))


def _best_of(values, thresholds):
    errors = [mean_squared_error(values, float(t)) for t in thresholds]
    best = int(np.argmin(errors))
    return float(thresholds[best]), errors[best]
