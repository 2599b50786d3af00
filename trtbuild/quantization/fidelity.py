"""How faithful a typed graph is to the FP32 one it was made from, on samples that chose nothing.

For deciding between graphs while they are made. The proof that a build ends with is verification's, on other data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trtbuild import onnxrun
from trtbuild.emulation import emulate, uses_low_precision
from trtbuild.errors import FeedError
from trtbuild.feeds import Sample
from trtbuild.metrics import PairStatistics

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from trtbuild.artifacts import OutputComparison

EXACT_DB = 300.0
"""SQNR that stands for no error at all."""


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
        runner = onnxrun.session(emulate(typed) if uses_low_precision(typed) else typed)
        found: dict[str, PairStatistics] = {}
        for feed, wanted in zip(self._feeds, self._wanted, strict=True):
            for name, got in onnxrun.run(runner, feed).items():
                if wanted[name].dtype.kind == "f":
                    found.setdefault(name, PairStatistics(name)).add(wanted[name], got)
        return tuple(statistics.result() for statistics in found.values())

    def sqnr_db(self, typed: ModelProto) -> float:
        """Signal to quantisation noise of the worst output, in dB; minus ``EXACT_DB`` where one turns NaN or Inf."""
        return min((_sqnr(c) for c in self.of(typed)), default=EXACT_DB)


def _sqnr(comparison: OutputComparison) -> float:
    if comparison.nonfinite:
        return -EXACT_DB
    return EXACT_DB if comparison.sqnr_db is None else comparison.sqnr_db
