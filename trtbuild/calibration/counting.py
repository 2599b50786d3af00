"""Ranges, sums and bins of |x|: in compiled code where the installation could compile it, else in numpy.

Ranges and bins, and so thresholds, are the same to the last bit either way; sums are to rounding.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 4096
"""Of a histogram. At least half of them lie below the largest value seen: 2,048, as in TensorRT's calibrator."""
LIBRARY = Path(__file__).with_name("libcounting.so")
"""What ``hatch_build.py`` makes of ``counting.c``."""
_FORM = 1  # of the compiled functions' parameters
_SHORT = 256  # values of a channel side by side; numpy compares fewer over the rows first
_DOT = 1 << 13  # values whose squares are summed at a time: from 10,000 on BLAS would start threads of its own
_CHUNK = 1 << 16  # values that numpy works on at a time: what they turn into stays in a core's cache


@dataclass(frozen=True)
class Moments:
    """What some values hold.

    Attributes:
        low: Smallest value of each channel, shape ``[channels]``.
        high: Largest, likewise.
        total: Sum of each channel, likewise.
        squares: Sum of the squares of all; NaN or Inf where a value is, or where float32 does not hold them.
    """

    low: NDArray[np.floating]
    high: NDArray[np.floating]
    total: NDArray[np.float64]
    squares: float


def moments(values: NDArray[np.floating]) -> Moments:
    """Range and sum of each channel, and the sum of all squares.

    Args:
        values: Shape ``[rows, channels, inner]``, contiguous, of at least one value; all but the squares are of no use
            where one is NaN or Inf.
    """
    import numpy as np

    compiled = _compiled()
    if compiled is None or values.dtype != np.float32:
        return moments_in_numpy(values)
    rows, channels, inner = values.shape
    room = np.empty((5, channels + 1), np.float64)  # a row each: an array is made in a moment, but not five of them
    at, step = room.ctypes.data, room.strides[0]
    low, high, total, squares, work = (at + row * step for row in range(5))
    compiled.moments(values.ctypes.data, rows, channels, inner, low, high, total, squares, work)
    low32, high32 = room[0].view(np.float32)[:channels], room[1].view(np.float32)[:channels]
    return Moments(low32, high32, room[2, :channels], float(room[3, 0]))


def moments_in_numpy(values: NDArray[np.floating]) -> Moments:
    """``moments`` where nothing was compiled: the same ranges, and the same sums but for rounding."""
    import numpy as np

    with np.errstate(invalid="ignore", over="ignore"):
        low, high, total = (_over_rows(ufunc, values) for ufunc in (np.minimum, np.maximum, np.add))
        return Moments(low, high, total.astype(np.float64), _sum_of_squares(values.reshape(-1)))


def count(values: NDArray[np.float32], scale: float, counts: NDArray[np.int64]) -> None:
    """Adds one to ``counts[floor(|x| * scale)]`` for each value.

    Args:
        values: Finite values, shape ``[n]``, whose ``|x| * scale`` is below ``BINS``.
        scale: Bins in one of the tensor's units; a power of two, so that nothing is rounded.
        counts: Shape ``[BINS]``; changed.
    """
    compiled = _compiled()
    if compiled is None:
        count_in_numpy(values, scale, counts)
    elif values.flags.c_contiguous:
        compiled.count(values.ctypes.data, values.size, scale, counts.ctypes.data)
    else:
        count(values.copy(), scale, counts)


def count_in_numpy(values: NDArray[np.float32], scale: float, counts: NDArray[np.int64]) -> None:
    """``count`` where nothing was compiled: the same, and about a third as fast."""
    import numpy as np

    for start in range(0, values.size, _CHUNK):
        chunk = values[start : start + _CHUNK]
        scaled, whole, bins = (array[: chunk.size] for array in _scratch())
        np.multiply(chunk, np.float32(scale), out=scaled)
        np.abs(scaled, out=scaled)
        np.copyto(whole, scaled, casting="unsafe")  # by way of int32: processors do both steps many at a time
        np.copyto(bins, whole)
        counts += np.bincount(bins, minlength=BINS)


def is_compiled() -> bool:
    """Whether the compiled code is there and fits."""
    return _compiled() is not None


@dataclass(frozen=True)
class _Compiled:
    moments: Any
    count: Any


@lru_cache(maxsize=1)
def _compiled() -> _Compiled | None:
    try:
        library = ctypes.CDLL(str(LIBRARY))
        if library.trtbuild_counting_form() != _FORM:
            return None
        found = _Compiled(library.trtbuild_moments, library.trtbuild_count)
    except (OSError, AttributeError):  # not there, made for another machine, or by another version
        return None
    whole, array = ctypes.c_int64, ctypes.c_void_p
    found.moments.argtypes = (array, whole, whole, whole, array, array, array, array, array)
    found.count.argtypes = (array, whole, ctypes.c_float, array)
    found.moments.restype = found.count.restype = None
    return found


def _over_rows(ufunc: np.ufunc, values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Reduces shape ``[rows, channels, inner]`` to the channels, over two axes at a time: that is faster."""
    rows, channels, inner = values.shape
    if inner < _SHORT and rows > 1:
        values = ufunc.reduce(values.reshape(rows, -1), axis=0).reshape(1, channels, inner)
        rows = 1
    if inner > 1:
        values = ufunc.reduce(values.reshape(-1, inner), axis=1).reshape(rows, channels)
    found: NDArray[np.floating] = ufunc.reduce(values.reshape(rows, channels), axis=0)
    return found


def _sum_of_squares(flat: NDArray[np.floating]) -> float:
    import numpy as np

    even = flat.size - flat.size % _DOT
    rows = flat[:even].reshape(-1, 1, _DOT)
    return float((rows @ rows.swapaxes(1, 2)).sum(dtype=np.float64)) + float(np.dot(flat[even:], flat[even:]))


_own = threading.local()


def _scratch() -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.intp]]:
    """This thread's room for a chunk: values by bin width, their bins, and those in the type that is counted."""
    import numpy as np

    if not hasattr(_own, "room"):
        _own.room = (np.empty(_CHUNK, np.float32), np.empty(_CHUNK, np.int32), np.empty(_CHUNK, np.intp))
    room: tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.intp]] = _own.room
    return room
