"""How far one array is from another. NumPy only; everything is computed in float64.

Streaming: a ``PairStatistics`` takes sample after sample in constant memory, and says at the end what a comparison
says. NaN and Inf are counted first and kept out of every mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trtbuild.artifacts import OutputComparison, ScoreAgreement, WorstElement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

_MANTISSA_BITS = 7  # of float32's 23: a bin is less than 0.8 % wide
_TOP = 5  # classes of a top-5 agreement


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


class Quantiles:
    """Quantiles of a stream of magnitudes in constant memory.

    Bins are cut by the leading bits of float32, so each is less than 0.8 % wide wherever it lies. A quantile is the
    upper edge of its bin: never below the true one, and at most 0.8 % above it.
    """

    def __init__(self) -> None:
        import numpy as np

        self._counts = np.zeros(1 << (8 + _MANTISSA_BITS), np.int64)
        self._shift = 23 - _MANTISSA_BITS

    def add(self, magnitudes: NDArray[np.float64]) -> None:
        """Takes finite values of any shape, none of them below 0."""
        import numpy as np

        largest = float(np.finfo(np.float32).max)
        bits = np.minimum(magnitudes, largest).astype(np.float32).ravel().view(np.uint32) >> self._shift
        self._counts += np.bincount(bits, minlength=len(self._counts))[: len(self._counts)]

    def at(self, share: float) -> float:
        """The smallest bin edge that at least ``share`` of the values do not exceed; 0 of nothing."""
        import numpy as np

        total = int(self._counts.sum())
        if not total:
            return 0.0
        bin_ = int(np.searchsorted(np.cumsum(self._counts), math.ceil(share * total)))
        if bin_ == 0:
            return 0.0  # zeros, and what is below float32's smallest normal number
        return float(np.array([((bin_ + 1) << self._shift) - 1], np.uint32).view(np.float32)[0])


class PairStatistics:
    """Statistics of one output over a stream of (reference, subject) pairs.

    Args:
        output: The output's name.
        detailed: Whether quantiles and agreement of scores are wanted too; they cost a few passes more.
    """

    def __init__(self, output: str, *, detailed: bool = False) -> None:
        self.output = output
        self._samples = 0
        self._rows = 0
        self._elements = 0
        self._signal = self._noise = self._abs_sum = self._cosine_sum = 0.0
        self._cosine_min = 1.0
        self._nonfinite = 0
        self._worst: WorstElement | None = None
        self._worst_abs = self._worst_relative = 0.0
        self._reference_range = (math.inf, -math.inf)
        self._subject_range = (math.inf, -math.inf)
        self._absolute: Quantiles | None = Quantiles() if detailed else None
        self._relative: Quantiles | None = Quantiles() if detailed else None
        self._scores = _Scores() if detailed else None

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
        if self._scores is not None and reference.dtype.kind == "f":
            self._scores.add(a, b)
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
        if self._absolute is not None and self._relative is not None:
            self._absolute.add(error)
            relative = error[a != 0] / np.abs(a[a != 0])
            self._relative.add(relative)
            self._worst_relative = max(self._worst_relative, float(relative.max(initial=0.0)))
        if error.size and float(error.max()) > self._worst_abs:
            flat = int(error.argmax())
            index = tuple(int(i) for i in np.unravel_index(flat, error.shape))
            self._worst_abs = float(error.max())
            self._worst = WorstElement(self._samples, index, float(a.flat[flat]), float(b.flat[flat]))
        self._samples += 1

    def result(self) -> OutputComparison:
        """The comparison over everything added so far."""
        reference = _closed(self._reference_range)
        mean_square = self._noise / max(self._elements, 1)
        peak = reference[1] - reference[0]
        detailed = self._absolute is not None and self._relative is not None
        return OutputComparison(
            output=self.output,
            max_abs=self._worst_abs,
            mean_abs=self._abs_sum / max(self._elements, 1),
            cosine=self._cosine_sum / max(self._rows, 1),
            cosine_min=self._cosine_min,
            sqnr_db=None if self._noise == 0 else 10 * math.log10(max(self._signal, 1e-300) / self._noise),
            nonfinite=self._nonfinite,
            reference_range=reference,
            subject_range=_closed(self._subject_range),
            worst=self._worst,
            psnr_db=10 * math.log10(peak * peak / mean_square) if mean_square > 0 and peak > 0 else None,
            p99_abs=self._absolute.at(0.99) if self._absolute else None,
            max_rel=self._worst_relative if detailed else None,
            p99_rel=self._relative.at(0.99) if self._relative else None,
            scores=self._scores.result() if self._scores else None,
        )


class _Scores:
    """Agreement of two sides that score classes along the last axis."""

    def __init__(self) -> None:
        self._rows = self._sound = self._top1 = 0
        self._top5 = self._kl = 0.0
        self._classes: int | None = 0  # None once an array came that has no axis of classes

    def add(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
        import numpy as np

        if a.ndim < 2 or a.shape[-1] < 2 or self._classes is None or self._classes not in (0, a.shape[-1]):
            self._classes = None
            return
        self._classes = a.shape[-1]
        a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
        sound = np.isfinite(a).all(1) & np.isfinite(b).all(1)
        self._rows += len(a)
        self._sound += int(sound.sum())
        a, b = a[sound], b[sound]
        if not len(a):
            return
        best = a.argmax(1)
        self._top1 += int((best == b.argmax(1)).sum())
        top = min(_TOP, a.shape[1])
        mine, theirs = (np.argpartition(-x, top - 1, axis=1)[:, :top] for x in (a, b))
        self._top5 += float((mine[:, :, None] == theirs[:, None, :]).any(2).mean(1).sum())
        p, q = _log_softmax(a), _log_softmax(b)
        self._kl += float((np.exp(p) * (p - q)).sum())

    def result(self) -> ScoreAgreement | None:
        if not self._classes or not self._rows:
            return None
        rows = self._rows  # one with NaN or Inf agrees with nothing
        return ScoreAgreement(
            self._classes, rows, self._top1 / rows, self._top5 / rows, self._kl / self._sound if self._sound else None
        )


def _log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    shifted = scores - scores.max(axis=1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def _widen(old: tuple[float, float], values: Array) -> tuple[float, float]:
    import numpy as np

    finite = values[np.isfinite(values)]
    if not finite.size:
        return old
    return min(old[0], float(finite.min())), max(old[1], float(finite.max()))


def _closed(limits: tuple[float, float]) -> tuple[float, float]:
    return limits if limits[0] <= limits[1] else (0.0, 0.0)
