"""What rounding may make of a graph too large for the reference evaluator: its weights and inputs moved by rounding.

Every FP32 weight and input is moved at random by up to 2^-23 of itself, and the graph is run in ONNX Runtime
as it is. How far the results move is how far its rounding errors carry: the sums inside are rounded as coarsely as what
goes into them. Cruder than moving every tensor of a computation in double precision, and possible at any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

_RUNS = 4
_UNIT = 2.0**-23  # of float32


def jittered(model: ModelProto, feed: Mapping[str, NDArray[Any]]) -> list[dict[str, NDArray[Any]]]:
    """Runs a model with its weights and inputs moved by rounding, several times.

    Args:
        model: The original, its weights in memory.
        feed: Its inputs.

    Returns:
        Output name to array, a dict a run.

    Raises:
        InvalidOnnxError: ONNX Runtime cannot run it.
    """
    import numpy as np

    from trtbuild.onnxrun import run, session

    random = np.random.default_rng(0)
    found = []
    for _ in range(_RUNS):
        moved = {n: _moved(a, random) if a.dtype == np.float32 else a for n, a in feed.items()}
        found.append(run(session(_with_moved_weights(model, random)), moved))
    return found


def _with_moved_weights(model: ModelProto, random: Any) -> ModelProto:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            moved = _moved(onnx.numpy_helper.to_array(tensor), random)
            tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))
    return copy


def _moved(values: NDArray[Any], random: Any) -> NDArray[Any]:
    """Each value, but whole numbers: counts and masks are exact in any precision."""
    import numpy as np

    factors = 1 + _UNIT * random.integers(-1, 2, values.shape)
    return np.where(values == np.rint(values), values, values * factors).astype(np.float32)
