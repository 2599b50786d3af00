"""How far one array is from another. NumPy only; everything is computed in float64.

Streaming: a ``PairStatistics`` takes sample after sample in constant memory, and says at the end what a comparison
says. NaN and Inf are counted first and kept out of every mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trtbuild.artifacts import OutputComparison, WorstElement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]


def row_cosines(reference: Array, subject: Array) -> NDArray[np.float64]:
    """Cosine similarity of each row; axis 0 are rows, the rest is flattened.

    Two zero rows are alike (1), a zero row against another is not (0).

    Args:
        reference: Any shape.
        subject: The same shape.

    Returns:
        Shape ``[rows]``.
    """
    import numpy as np

    rows = len(reference) if reference.ndim else 1
    a = np.asarray(reference, np.float64).reshape(rows, reference.size // max(rows, 1))  # -1 fails on an empty array
    b = np.asarray(subject, np.float64).reshape(a.shape)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    dots = np.einsum("ij,ij->i", a, b)
    alike = (np.abs(a).sum(1) == 0) & (np.abs(b).sum(1) == 0)
    cosines: NDArray[np.float64] = np.where(lengths > 0, dots / np.where(lengths > 0, lengths, 1), alike)
    return cosines.astype(np.float64)


class PairStatistics:
    """Statistics of one output over a stream of (reference, subject) pairs.

    Args:
        output: The output's name.
    """

    def __init__(self, output: str) -> None:
        self.output = output
        self._samples = 0
        self._rows = 0
        self._elements = 0
        self._signal = self._noise = self._abs_sum = self._cosine_sum = 0.0
        self._cosine_min = 1.0
        self._nonfinite = 0
        self._worst: WorstElement | None = None
        self._worst_abs = 0.0
        self._reference_range = (math.inf, -math.inf)
        self._subject_range = (math.inf, -math.inf)

    def add(self, reference: Array, subject: Array) -> None:
        """Takes one sample's output from both sides; the shapes must be equal."""
        import numpy as np

        if reference.shape != subject.shape:
            raise ValueError(f"output {self.output!r}: shapes differ, {reference.shape} and {subject.shape}")
        a, b = np.asarray(reference, np.float64), np.asarray(subject, np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))  # an infinity both sides agree on is no error
        self._nonfinite += int((~finite & ~same).sum())
        self._reference_range = _widen(self._reference_range, a)
        self._subject_range = _widen(self._subject_range, b)
        a, b = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
        error = np.abs(a - b)
        self._signal += float((a * a).sum())
        self._noise += float((error * error).sum())
        self._abs_sum += float(error.sum())
        self._elements += error.size
        cosines = row_cosines(a, b)
        self._cosine_sum += float(cosines.sum())
        self._cosine_min = min(self._cosine_min, float(cosines.min(initial=1.0)))
        self._rows += len(cosines)
        if error.size and float(error.max()) > self._worst_abs:
            flat = int(error.argmax())
            index = tuple(int(i) for i in np.unravel_index(flat, error.shape))
            self._worst_abs = float(error.max())
            self._worst = WorstElement(self._samples, index, float(a.flat[flat]), float(b.flat[flat]))
        self._samples += 1

    def result(self) -> OutputComparison:
        """The comparison over everything added so far."""
        return OutputComparison(
            output=self.output,
            max_abs=self._worst_abs,
            mean_abs=self._abs_sum / max(self._elements, 1),
            cosine=self._cosine_sum / max(self._rows, 1),
            cosine_min=self._cosine_min,
            sqnr_db=None if self._noise == 0 else 10 * math.log10(max(self._signal, 1e-300) / self._noise),
            nonfinite=self._nonfinite,
            reference_range=_closed(self._reference_range),
            subject_range=_closed(self._subject_range),
            worst=self._worst,
        )


def _widen(old: tuple[float, float], values: Array) -> tuple[float, float]:
    import numpy as np

    finite = values[np.isfinite(values)]
    if not finite.size:
        return old
    return min(old[0], float(finite.min())), max(old[1], float(finite.max()))


def _closed(limits: tuple[float, float]) -> tuple[float, float]:
    return limits if limits[0] <= limits[1] else (0.0, 0.0)
