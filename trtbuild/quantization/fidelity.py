"""How faithful a typed graph is to the FP32 one it was made from, on samples that chose nothing.

For deciding between graphs while they are made. The proof that a build ends with is verification's, on other data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtbuild import onnxrun
from trtbuild.emulation import emulate, uses_low_precision
from trtbuild.errors import FeedError
from trtbuild.feeds import Sample
from trtbuild.metrics import PairStatistics, row_cosines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto

    from trtbuild.artifacts import OutputComparison

    Array = NDArray[Any]

EXACT_DB = 300.0
"""SQNR that stands for no error at all."""


def noise_of(sqnr_db: float) -> float:
    """Noise power over signal power."""
    return 0.0 if sqnr_db >= EXACT_DB else 10.0 ** (-sqnr_db / 10)


def sqnr_of(noise: float) -> float:
    """SQNR in dB of a noise power over signal power."""
    return EXACT_DB if noise <= 0 else min(EXACT_DB, -10 * math.log10(noise))


@dataclass(frozen=True)
class RowErrors:
    """How far one output of a typed graph is from the FP32 one, row by row.

    Attributes:
        output: The output's name.
        signal: Sum of squares of each FP32 row, shape ``[rows]``, in the output's unit squared.
        noise: Sum of squares of each row's error, shape ``[rows]``, in the same unit.
        cosine: Cosine similarity of each row, shape ``[rows]``.
        nonfinite: NaN and Inf that the FP32 output has not.
    """

    output: str
    signal: NDArray[np.float64]
    noise: NDArray[np.float64]
    cosine: NDArray[np.float64]
    nonfinite: int


class Fidelity:
    """The FP32 outputs of some samples, to hold typed graphs against.

    Args:
        model: The FP32 model, weights in memory.
        samples: Samples for judging; kept in memory with their outputs.

    Raises:
        FeedError: There is no sample.
    """

    def __init__(self, model: ModelProto, samples: Iterable[Sample]) -> None:
        self._feeds = [dict(s.feed) for s in samples]
        if not self._feeds:
            raise FeedError(
                "no sample is left to judge with",
                place="calibration",
                hint="give the reader more rows: some choose, others judge what was chosen",
            )
        runner = onnxrun.session(model)
        self._wanted: list[Mapping[str, NDArray[Any]]] = [onnxrun.run(runner, f) for f in self._feeds]

    @property
    def samples(self) -> int:
        """How many feeds judge."""
        return len(self._feeds)

    def of(self, typed: ModelProto) -> tuple[OutputComparison, ...]:
        """Compares every float output of a typed graph with the FP32 one; FP16 and BF16 are emulated."""
        found: dict[str, PairStatistics] = {}
        for name, wanted, got in self._pairs(typed):
            found.setdefault(name, PairStatistics(name)).add(wanted, got)
        return tuple(statistics.result() for statistics in found.values())

    def rows(self, typed: ModelProto) -> tuple[RowErrors, ...]:
        """The same row by row, for saying how sure a figure is."""
        import numpy as np

        found: dict[str, list[tuple[Array, Array, Array]]] = {}
        bad: dict[str, int] = {}
        for name, wanted, got in self._pairs(typed):
            rows = len(wanted) if wanted.ndim else 1
            a, b = (np.asarray(x, np.float64).reshape(rows, -1 if wanted.size else 0) for x in (wanted, got))
            unlike = ~(np.isfinite(a) & np.isfinite(b)) & (a != b) & ~(np.isnan(a) & np.isnan(b))
            bad[name] = bad.get(name, 0) + int(unlike.sum())
            finite = np.isfinite(a) & np.isfinite(b)
            a, b = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
            found.setdefault(name, []).append(((a * a).sum(1), ((a - b) ** 2).sum(1), row_cosines(a, b)))
        made = []
        for name, parts in found.items():
            signal, noise, cosine = (np.concatenate(column) for column in zip(*parts, strict=True))
            made.append(RowErrors(name, signal, noise, cosine, bad[name]))
        return tuple(made)

    def _pairs(self, typed: ModelProto) -> Iterator[tuple[str, Array, Array]]:
        """Every float output of every sample, with its FP32 one before it."""
        runner = onnxrun.session(emulate(typed) if uses_low_precision(typed) else typed)
        for feed, wanted in zip(self._feeds, self._wanted, strict=True):
            for name, got in onnxrun.run(runner, feed).items():
                if wanted[name].dtype.kind == "f":
                    yield name, wanted[name], got

    def sqnr_db(self, typed: ModelProto) -> float:
        """Signal to quantisation noise of the worst output, in dB; minus ``EXACT_DB`` where one turns NaN or Inf."""
        return min((_sqnr(c) for c in self.of(typed)), default=EXACT_DB)


def _sqnr(comparison: OutputComparison) -> float:
    if comparison.nonfinite:
        return -EXACT_DB
    return EXACT_DB if comparison.sqnr_db is None else comparison.sqnr_db
