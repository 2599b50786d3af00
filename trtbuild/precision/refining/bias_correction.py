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
from trtbuild.onnxfile import reads
from trtbuild.quantization import FORMATS, FormatName, Placement, QuantizedNode, QuantizedWeight, quantize_weight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

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
    biases = _Biases(copy)
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


class _Biases:
    """The biases of a model, changed in place."""

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.nodes = {n.name: n for n in model.graph.node}
        self.stored = {t.name: t for t in model.graph.initializer}
        self.outputs = {o.name for o in model.graph.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in reads(node):
                self.readers.setdefault(name, []).append(node)

    def constant(self, name: str) -> NDArray[Any]:
        """The values of a constant."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.stored[name])

    def group(self, name: str) -> int:
        """Groups of a convolution; 1 for any other node."""
        return int(_attribute(self.nodes[name], "group", 1))

    def add(self, name: str, shift: Row) -> str | None:
        """Adds to a node's bias; returns why not, where it cannot."""
        node = self.nodes[name]
        if node.op_type == "MatMul":
            return self._behind(node.output[0], shift)
        if node.op_type == "Gemm":
            beta = _attribute(node, "beta", 1.0)
            if beta == 0:
                return "its bias does not count"
            shift = shift * _attribute(node, "alpha", 1.0) / beta
        if len(node.input) < 3:
            node.input.append("")
        if node.input[2] and node.input[2] not in self.stored:
            return "its bias is no constant"
        self._write(node, 2, shift)
        return None

    def _behind(self, tensor: str, shift: Row) -> str | None:
        """MatMul has no bias; what follows it may be one: an Add of a constant, or a Split and one for each part."""
        parts = self._parts(tensor, shift)
        if parts is None:
            return "no Add of a constant follows it"
        for add, slot, part in parts:
            self._write(add, slot, part)
        return None

    def _parts(self, tensor: str, shift: Row) -> list[tuple[NodeProto, int, Row]] | None:
        readers = self.readers.get(tensor, [])
        if len(readers) != 1 or tensor in self.outputs:
            return None
        reader = readers[0]
        if reader.op_type == "Add":
            slot = 1 - list(reader.input).index(tensor)
            constant = self.stored.get(reader.input[slot])
            last = constant is not None and (not constant.dims or constant.dims[-1] in (1, len(shift)))
            return [(reader, slot, shift)] if last else None
        if reader.op_type != "Split" or len(reader.input) < 2 or reader.input[1] not in self.stored:
            return None
        sizes = self.constant(reader.input[1]).tolist()
        if _attribute(reader, "axis", 0) != -1 or sum(sizes) != len(shift):
            return None
        found: list[tuple[NodeProto, int, Row]] = []
        start = 0
        for name, size in zip(reader.output, sizes, strict=True):
            inner = self._parts(name, shift[start : start + size])
            if inner is None:
                return None
            found += inner
            start += size
        return found

    def _write(self, node: NodeProto, slot: int, shift: Row) -> None:
        import numpy as np
        from onnx import numpy_helper

        before = self.constant(node.input[slot]).astype(float) if node.input[slot] else 0.0
        made = f"{node.name}/corrected_bias"
        node.input[slot] = made
        self.graph.initializer.append(numpy_helper.from_array((before + shift).astype(np.float32), made))


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    import onnx

    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
