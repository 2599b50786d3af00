"""Whether a scale fits the values that it quantises."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from trtbuild.debugging.alignment import CONVERSIONS, Segment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    Values = NDArray[np.float64]

STEPS = 127
"""Of INT8, on each side of zero."""

BAD_SCALE_DB = 10.0
"""What a scale may cost against the best of those around it, dB: a table of extremes costs a few where values have
tails; a scale that is wrong costs more."""

_LOOKED_AT = 65_536  # values of a tensor


def quantised(
    model: ModelProto, segment: Segment, known: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[NodeProto, Values, float]]:
    """A segment's INT8 QuantizeLinear nodes that have one scale, with the values that reach them, and the scale."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    initial = {t.name: t for t in model.graph.initializer}
    maker = {t: n for n in segment.nodes for t in n.output}
    for node in segment.nodes:
        zero = initial.get(node.input[2]) if len(node.input) > 2 else None
        if node.op_type != "QuantizeLinear" or node.input[1] not in initial or zero is None:
            continue
        tensor = node.input[0]
        while tensor not in known and tensor in maker and maker[tensor].op_type in CONVERSIONS:
            tensor = maker[tensor].input[0]
        held = initial[node.input[1]]
        if math.prod(held.dims) != 1 or zero.data_type != TensorProto.INT8 or tensor not in known:
            continue  # a scale a channel may lie on disk, and is a weight's
        scale = numpy_helper.to_array(held).astype(np.float64).ravel()
        if scale[0] > 0:
            values = np.asarray(known[tensor], np.float64).ravel()
            values = values[:: max(1, values.size // _LOOKED_AT)]
            yield node, values[np.isfinite(values)], float(scale[0])


def costs(values: Values, scale: float) -> tuple[float, float]:
    """How many dB the best of the scales from 1/32 to 32 times this one would keep more, and that scale."""
    import numpy as np

    def quality(s: float) -> float:
        return sqnr_db(values, np.clip(np.round(values / s), -STEPS - 1, STEPS) * s)

    tried = {scale * 2.0 ** (power / 2): quality(scale * 2.0 ** (power / 2)) for power in range(-10, 11)}
    best = max(tried, key=lambda s: tried[s])
    return tried[best] - quality(scale), best


def sqnr_db(right: Values, mine: Values) -> float:
    """Signal to noise, dB; 999 where there is no error."""
    import numpy as np

    noise = float(((right - mine) ** 2).sum())
    signal = float((right * right).sum())
    return 999.0 if noise == 0 else float(10 * np.log10(max(signal, 1e-300) / noise))
