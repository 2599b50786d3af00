"""Quantised activations whose channels are tied together, and the quantisation noise they make at their readers.

The noise is estimated where it arises, from a few sampled rows: for a product X W it is the rounding and clipping error
of each column of X times the squared weights that read it, plus the rounding error of W times the mean square of the
columns of X. Errors of different columns are taken as independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.calibration.histogram import StreamingHistogram
from trtbuild.calibration.table import METHODS
from trtbuild.quantization import FORMATS, quantize_weight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trtbuild.calibration.equalization.channels import ChannelMap
    from trtbuild.calibration.equalization.observation import Observation
    from trtbuild.quantization import Placement, QuantizedNode

    Floats = NDArray[np.float64]

_WEIGHTS = 1 << 17  # elements of a weight that the estimate looks at: some of its output channels, evenly chosen


@dataclass(frozen=True)
class Reader:
    """A quantised node with what it reads.

    Attributes:
        node: The node.
        rows: Sampled rows of its activation, shape ``[rows, channels]``.
        ranges: Largest |x| of each channel over all samples.
        weight: Its weight as ``[outputs, channels of a group, taps]``, some outputs of each group.
        groups: Groups that channels are cut into.
        index: Place of each channel among the component's factors; -1 for a pinned one.
    """

    node: QuantizedNode
    rows: NDArray[np.float32]
    ranges: Floats
    weight: NDArray[np.float32]
    groups: int
    index: NDArray[np.int64]

    def spread(self, factors: Floats) -> Floats:
        """The factor of each channel; 1 for a pinned one."""
        import numpy as np

        return np.where(self.index >= 0, factors[self.index], 1.0)

    def noise(self, factors: Floats, method: str) -> float:
        """Noise over signal at the node's output, by the estimate above."""
        import numpy as np

        s = self.spread(factors)
        x = np.divide(self.rows, s, dtype=np.float32)
        counted = StreamingHistogram()
        counted.add(x)
        if counted.amax == 0:
            return 0.0
        step = max(float(METHODS.load(method).threshold(counted.result())) / 127, 1e-30)
        error = (np.clip(np.rint(x / step), -127, 127) * step - x) * s
        squares, noise = (self.rows.astype(np.float64) ** 2).mean(axis=0), (error.astype(np.float64) ** 2).mean(axis=0)
        by_group = np.repeat(s.reshape(self.groups, 1, -1), len(self.weight) // self.groups, axis=1)
        columns = by_group.reshape(len(self.weight), -1, 1)
        scaled = self.weight * columns
        rounded = quantize_weight(scaled, FORMATS["int8"], axis=0, reduced_axis=1).values()
        power, lost = self._by_channel(self.weight), self._by_channel((rounded - scaled) / columns)
        signal = float(squares @ power)
        return float(noise @ power + squares @ lost) / signal if signal > 0 else 0.0

    def _by_channel(self, weight: NDArray[np.floating]) -> Floats:
        """Sum of squares over all that read a channel."""
        squares = (weight.astype(float) ** 2).sum(axis=2)
        found: Floats = squares.reshape(self.groups, -1, squares.shape[1]).sum(axis=1).ravel()
        return found

    def weight_ranges(self) -> Floats:
        """Largest |weight| that reads each channel, as a share of the weight's largest."""
        import numpy as np

        largest = np.abs(self.weight).max(axis=2).astype(float)
        found: Floats = largest.reshape(self.groups, -1, largest.shape[1]).max(axis=1).ravel()
        return found / max(float(found.max()), 1e-30)


@dataclass(frozen=True)
class Component:
    """Readers that share free channels.

    Attributes:
        readers: The quantised nodes.
        roots: The free channels.
        made: Largest weight that makes each of them, as a share of its layer's; None where not only weights do.
    """

    readers: tuple[Reader, ...]
    roots: tuple[int, ...]
    made: Floats | None

    def noise(self, factors: Floats, method: str) -> float:
        """Sum of its readers' noise over signal."""
        return sum(r.noise(factors, method) for r in self.readers)

    def activation_ranges(self) -> Floats:
        """Largest |x| of each free channel, as a share of its tensor's, over all tensors that have it."""
        return self._largest([r.ranges / max(float(r.ranges.max()), 1e-30) for r in self.readers])

    def weight_ranges(self) -> Floats:
        """Largest |weight| that reads each free channel, as a share of its layer's."""
        return self._largest([r.weight_ranges() for r in self.readers])

    def made_ranges(self) -> Floats | None:
        """Largest |weight| that makes each free channel, as a share of its layer's."""
        return self.made

    def _largest(self, shares: Sequence[Floats]) -> Floats:
        import numpy as np

        found = np.zeros(len(self.roots))
        for reader, share in zip(self.readers, shares, strict=True):
            free = reader.index >= 0
            np.maximum.at(found, reader.index[free], share[free])
        return found


def components(channels: ChannelMap, placement: Placement, seen: Observation) -> list[Component]:
    """Puts the quantised nodes together that share free channels; nodes without any are left out."""
    roots: dict[str, NDArray[np.int64]] = {}
    for node in placement.nodes:
        found = channels.free(node.activation, seen.axes[node.activation])
        if found is not None and node.activation in seen.rows:
            roots[node.node] = found
    made = _made(channels)
    result = []
    for names in _together({n: set(r[r >= 0].tolist()) for n, r in roots.items()}):
        mine = tuple(sorted({r for n in names for r in roots[n].tolist() if r >= 0}))
        nodes = [n for n in placement.nodes if n.node in names]
        readers = tuple(_reader(channels, n, roots[n.node], mine, seen) for n in nodes)
        result.append(Component(readers, mine, _row(made, mine)))
    return result


def _together(sets: Mapping[str, set[int]]) -> list[set[str]]:
    groups: list[tuple[set[str], set[int]]] = []
    for name, numbers in sets.items():
        names, merged, apart = {name}, set(numbers), []
        for other in groups:
            if other[1] & merged:
                names, merged = names | other[0], merged | other[1]
            else:
                apart.append(other)
        groups = [*apart, (names, merged)]
    return [names for names, _ in groups]


def _reader(
    channels: ChannelMap, node: QuantizedNode, roots: NDArray[np.int64], mine: tuple[int, ...], seen: Observation
) -> Reader:
    import numpy as np

    place = {root: number for number, root in enumerate(mine)}
    weight = channels.constant(node.weight)
    assert weight is not None  # a placement names constants only
    laid, groups = _as_rows(weight, node, len(roots))
    return Reader(
        node=node,
        rows=seen.rows[node.activation],
        ranges=np.asarray(seen.ranges[node.activation], np.float64),
        weight=laid,
        groups=groups,
        index=np.asarray([place.get(r, -1) for r in roots.tolist()], np.int64),
    )


def _as_rows(weight: NDArray[np.float32], node: QuantizedNode, width: int) -> tuple[NDArray[np.float32], int]:
    """A weight as ``[outputs, channels of a group, taps]``, and the number of groups."""
    import numpy as np

    if node.op == "ConvTranspose":  # [in, out / group, ...]: a row an input; no sum over outputs is lost by one group
        laid, groups = np.moveaxis(weight, 0, 1).reshape(weight.shape[1], width, -1), 1
    elif node.op == "Conv":
        laid, groups = weight.reshape(*weight.shape[:2], -1), width // weight.shape[1]
    else:
        by_output = weight if node.reduced_axis == 1 else weight.T
        laid, groups = by_output[:, :, None], 1
    each = len(laid) // groups
    kept = max(1, min(each, _WEIGHTS // max(1, groups * laid.shape[1] * laid.shape[2])))
    chosen = np.linspace(0, each - 1, kept).astype(int)
    return laid.reshape(groups, each, *laid.shape[1:])[:, chosen].reshape(-1, *laid.shape[1:]), groups


def _made(channels: ChannelMap) -> dict[int, float | None]:
    """Largest weight that makes each channel, as a share of its layer's; None where something else makes it too."""
    import numpy as np

    found: dict[int, float | None] = {}
    for each in channels.scaled:
        node = channels.model.graph.node[each.node]
        makes = (each.power < 0) != (node.op_type == "Div")
        weighted = node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm")
        if not makes or (weighted and each.slot != 1) or node.op_type in ("Add", "Sub"):
            continue  # biases and constant summands move along
        numbers = channels.roots(each.numbers)
        values = channels.constant(node.input[1]) if weighted else None
        if values is None:
            found.update(dict.fromkeys(numbers.ravel().tolist()))
            continue
        over = tuple(a for a, size in enumerate(numbers.shape) if size == 1)
        largest = np.abs(values).max(axis=over, keepdims=True) / max(float(np.abs(values).max()), 1e-30)
        for root, share in zip(numbers.ravel().tolist(), np.broadcast_to(largest, numbers.shape).flat, strict=True):
            before = found.get(root, 0.0)
            found[root] = None if before is None else max(before, float(share))
    return found


def _row(made: Mapping[int, float | None], roots: Sequence[int]) -> Floats | None:
    import numpy as np

    shares = [made.get(r) for r in roots]
    return None if any(s is None for s in shares) else np.asarray(shares, np.float64)
