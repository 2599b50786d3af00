"""One pass over samples: what thresholds need, the channels' ranges, and a few rows of every quantised activation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import StoredFile
from trtbuild.calibration.collector import run_in_portions
from trtbuild.calibration.histogram import Histograms
from trtbuild.calibration.statistics import ActivationStatistics, TensorStatistics
from trtbuild.calibration.table import table_from

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trtbuild.calibration.collector import Tensors
    from trtbuild.calibration.portions import Portion
    from trtbuild.feeds import Sample
    from trtbuild.quantization import Placement

    _Rows = tuple[NDArray[np.int64], NDArray[np.float32]]
    _Counted = dict[str, tuple[TensorStatistics, _Rows | None]]

_ELEMENTS = 1 << 19  # sampled of each activation
_ROWS = 1024  # at most
_ROWS_A_SAMPLE = 128


@dataclass(frozen=True)
class Observation:
    """What one pass saw.

    Attributes:
        amax: Largest |x| to keep of each quantised activation.
        axes: The axis of each activation that its weighted reader sums over.
        ranges: Largest |x| of each channel.
        means: Mean of each channel.
        rows: Sampled rows, shape ``[rows, channels]``.
    """

    amax: Mapping[str, float]
    axes: Mapping[str, int]
    ranges: Mapping[str, tuple[float, ...]]
    means: Mapping[str, tuple[float, ...]]
    rows: Mapping[str, NDArray[np.float32]]

    def also_at(self, names: Mapping[str, str]) -> Observation:
        """The same, with tensors that hold the same values under another name."""

        def both(seen: Mapping[str, Any]) -> dict[str, Any]:
            return {**seen, **{new: seen[old] for old, new in names.items() if old in seen}}

        return Observation(both(self.amax), both(self.axes), both(self.ranges), both(self.means), both(self.rows))


def observe(model: StoredFile, samples: Iterable[Sample], placement: Placement, method: str) -> Observation:
    """Runs the samples once.

    Args:
        model: The FP32 model; only read.
        samples: Samples that fit.
        placement: Where Q/DQ pairs go in it.
        method: How thresholds are chosen.

    Raises:
        ModelError: A quantised activation turns NaN or Inf.
    """
    axes = {n.activation: 1 if n.op.startswith("Conv") else -1 for n in placement.nodes}
    seen = {t: TensorStatistics(channel_axis=axes.get(t)) for t in placement.tensors}
    histograms = Histograms(seen)
    kept: dict[str, list[_Rows]] = {t: [] for t in axes}

    def counted(tensors: Tensors, portion: Portion, number: int) -> _Counted:
        found: _Counted = {}
        for name, array in tensors:
            statistics = TensorStatistics(histogram=False, channel_axis=axes.get(name))
            statistics.add(array, number, bins=histograms.here[name])
            found[name] = statistics, _some_rows(array, axes[name], portion, number) if name in axes else None
        return found

    def take(found: _Counted) -> None:
        for name, (statistics, rows) in found.items():
            seen[name].merge(statistics)
            if rows is not None:
                kept[name].append(rows)

    with tempfile.TemporaryDirectory(prefix="trtbuild-") as folder:
        proto, place = onnxfile.with_weights_on_disk(model.path, Path(folder))
        run_in_portions(proto, place, samples, placement.tensors, counted, take)
    histograms.merge_into({n: t.histogram for n, t in seen.items() if t.histogram is not None})
    table = table_from(ActivationStatistics(model.digest, seen), method)
    return Observation(
        amax={n: r.amax for n, r in table.ranges.items()},
        axes=axes,
        ranges={n: c.amax for n, c in table.channels.items()},
        means={n: c.mean for n, c in table.channels.items()},
        rows={n: _joined(chunks) for n, chunks in kept.items() if chunks},
    )


def _some_rows(array: NDArray[np.floating], axis: int, portion: Portion, number: int) -> _Rows:
    """Those of a sample's rows that lie in a portion, drawn by the sample's number: a second pass draws the same.

    Returns:
        Their places in the order in which all samples' were drawn, and the rows.
    """
    import numpy as np

    rows = np.moveaxis(array, axis, -1)
    width = rows.shape[-1]
    count = rows.size // max(width, 1)
    whole, first = count * portion.of // portion.rows, count * portion.first // portion.rows
    draw = np.random.default_rng(number).choice(whole, min(whole, _ROWS_A_SAMPLE), replace=False)
    mine = np.flatnonzero((draw >= first) & (draw < first + count))
    places = np.unravel_index(draw[mine] - first, rows.shape[:-1])
    return number * _ROWS_A_SAMPLE + mine, rows[places].astype(np.float32)


def _joined(chunks: list[_Rows]) -> NDArray[np.float32]:
    import numpy as np

    order, drawn = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    rows = drawn[np.argsort(order)]
    most = max(1, min(_ROWS, _ELEMENTS // max(rows.shape[1], 1)))
    chosen: NDArray[np.float32] = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    return chosen
