"""Takes the mean error that rounded weights make out of the biases: local and analytic, nothing is trained.

Algebra: E[X W] - E[X Wq] = E[X] (W - Wq), one number an output channel, from the mean of each channel of the
activation as calibration measured it. At the edges of a padded convolution it is an approximation: zeros count as the
mean there. Source: Data-Free Quantization (Nagel et al. 2019), with measured means.

Axes: Conv [out, in / group, ...], ConvTranspose [in, out / group, ...], MatMul [in, out], Gemm [in, out] or, with
transB, [out, in].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import ChannelRange
from trtbuild.precision.refining.biases import Biases
from trtbuild.quantization import FORMATS, FormatName, Placement, QuantizedNode, QuantizedWeight, quantize_weight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto

    Row = NDArray[np.float64]


@dataclass(frozen=True)
class CorrectedBiases:
    """The result.

    Attributes:
        model: The FP32 model with other biases: right only once its weights are rounded.
        corrected: Nodes whose bias was changed.
        declined: Node to the reason why it was left alone.
    """

    model: ModelProto
    corrected: tuple[str, ...]
    declined: Mapping[str, str]


def correct_biases(
    model: ModelProto,
    placement: Placement,
    channels: Mapping[str, ChannelRange],
    *,
    formats: Mapping[str, FormatName] | FormatName = "int8",
    clip_weights: bool = False,
    rounded: Mapping[str, QuantizedWeight] = MappingProxyType({}),
) -> CorrectedBiases:
    """Corrects the bias of every quantised node that has one, or can take one without a node more.

    Args:
        model: The FP32 model, weights in memory; left unchanged.
        placement: Its quantised nodes.
        channels: What calibration saw of the activations' channels.
        formats: What each node's weight will be stored in, as for ``write_qdq``.
        clip_weights: As for ``write_qdq``: the same rounding is compensated.
        rounded: As for ``write_qdq``.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    biases = Biases(copy)
    corrected, declined = [], {}
    for node in placement.nodes:
        seen = channels.get(node.activation)
        if seen is None or not seen.mean:
            declined[node.node] = "the means of its channels were not measured"
            continue
        kind = FORMATS[formats if isinstance(formats, str) else formats[node.node]]
        weight = biases.constant(node.weight)
        stored = rounded.get(node.node) or quantize_weight(
            weight, kind, axis=node.axis, reduced_axis=node.reduced_axis, clip=clip_weights
        )
        shift = _shift(node, weight.astype(float) - stored.values(), seen.mean, biases.group(node.node))
        reason = "its weight is a stack of matrices" if shift is None else biases.add(node.node, shift)
        if reason is None:
            corrected.append(node.node)
        else:
            declined[node.node] = reason
    return CorrectedBiases(copy, tuple(corrected), declined)


def _shift(node: QuantizedNode, lost: NDArray[Any], mean: tuple[float, ...], group: int) -> Row | None:
    """What rounding takes from the mean of each output channel; ``lost`` is W - Wq."""
    import numpy as np

    means = np.asarray(mean)
    if node.op == "Conv":
        taps = lost.reshape(group, -1, lost.shape[1], int(np.prod(lost.shape[2:])) or 1).sum(axis=3)
        found: Row = np.einsum("goi,gi->go", taps, means.reshape(group, -1)).ravel()
        return found
    if node.op == "ConvTranspose":
        return None if group != 1 else means @ lost.reshape(*lost.shape[:2], -1).mean(axis=2)
    if lost.ndim != 2:
        return None
    return np.asarray(lost @ means if node.reduced_axis == 1 else means @ lost)
