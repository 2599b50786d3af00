"""Writes Q/DQ pairs into a graph.

Activations: one pair a tensor and format, one scale, zero point 0, shared by the quantised nodes that read it; other
readers keep the float tensor. Weights: stored in the format behind one DequantizeLinear, shared by the nodes that read
them alike.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.errors import IntegrityError, PrecisionError
from trtbuild.onnxfile import reads
from trtbuild.quantization.formats import FORMATS, FormatName, NumberFormat
from trtbuild.quantization.weights import QuantizedWeight, quantize_weight

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

    from trtbuild.quantization.placement import Placement

_NONE: Mapping[str, QuantizedWeight] = MappingProxyType({})


def write_qdq(
    model: ModelProto,
    placement: Placement,
    amax: Mapping[str, float],
    *,
    formats: Mapping[str, FormatName] | FormatName = "int8",
    clip_weights: bool = False,
    rounded: Mapping[str, QuantizedWeight] = _NONE,
    folder: Path | None = None,
) -> ModelProto:
    """Returns a copy of the model with Q/DQ pairs.

    Args:
        model: The FP32 model.
        placement: Where pairs go.
        amax: Largest |x| to keep of each activation, in its unit; scale = amax / the format's largest number.
        formats: What each node of the placement is stored in; one word for all.
        clip_weights: Whether a channel's largest weights may be clipped where that makes its squared error smaller.
        rounded: Node to its weight, where its numbers are not just the nearest ones; no other node reads the weight.
        folder: Where weights lie that are not in memory; those that are not quantised stay there.

    Raises:
        IntegrityError: An activation has no range.
        PrecisionError: The model's opset is older than the format.
    """
    chosen = {n.node: FORMATS[formats if isinstance(formats, str) else formats[n.node]] for n in placement.nodes}
    _hold_opset(model, chosen)
    return _Writer(model, placement, amax, chosen, rounded, clip_weights=clip_weights, folder=folder).written()


def _hold_opset(model: ModelProto, chosen: Mapping[str, NumberFormat]) -> None:
    version = onnxfile.opset(model)
    newest = max(chosen.values(), key=lambda f: f.opset, default=None)
    if newest is not None and newest.opset > version:
        raise PrecisionError(
            f"{newest.name} needs ONNX opset {newest.opset}, the model has {version}",
            place="assign precision",
            hint=f"export with it: --set model.opset={newest.opset}",
        )


class _Writer:
    def __init__(
        self,
        model: ModelProto,
        placement: Placement,
        amax: Mapping[str, float],
        chosen: Mapping[str, NumberFormat],
        rounded: Mapping[str, QuantizedWeight],
        *,
        clip_weights: bool,
        folder: Path | None,
    ) -> None:
        self.model, self.amax, self.chosen, self.clip, self.folder = model, amax, chosen, clip_weights, folder
        self.rounded = rounded
        self.places = {n.node: n for n in placement.nodes}
        self.summands = {s.node: s for s in placement.summands if chosen[s.conv].activations}
        self.weights = {t.name: t for t in model.graph.initializer}
        self.new: dict[str, TensorProto] = {}
        self.done: dict[str, str] = {}  # what has been dequantised already, by key, to its tensor
        self.nodes: list[NodeProto] = []

    def written(self) -> ModelProto:
        for node in copy.deepcopy(list(self.model.graph.node)):
            if node.name in self.places:
                place, kind = self.places[node.name], self.chosen[node.name]
                if kind.activations:
                    node.input[0] = self._activation(place.activation, kind)
                node.input[1] = self._weight(place, kind)
            elif node.name in self.summands:
                summand = self.summands[node.name]
                index = list(node.input).index(summand.tensor)
                node.input[index] = self._activation(summand.tensor, self.chosen[summand.conv])
            self.nodes.append(node)
        used = {name for n in self.nodes for name in reads(n)} | {o.name for o in self.model.graph.output}
        kept = [t for t in self.model.graph.initializer if t.name in used and t.name not in self.new]
        made = onnxfile.with_graph(self.model, self.nodes, [*kept, *self.new.values()])
        gone = set(self.weights) - {t.name for t in kept}  # old exporters list weights among the inputs
        for value in [v for v in made.graph.input if v.name in gone]:
            made.graph.input.remove(value)
        return made

    def _activation(self, tensor: str, kind: NumberFormat) -> str:
        import numpy as np
        from onnx import helper

        key = tensor if kind.name == "int8" else f"{tensor}/{kind.name}"
        if key in self.done:
            return self.done[key]
        if tensor not in self.amax:
            raise IntegrityError(
                f"the calibration table has no range for {tensor!r}",
                place="assign precision",
                hint="calibrate this very graph: names may have changed since the table was made",
            )
        exact = self.amax[tensor] / kind.largest
        scale = self._add(f"{key}/scale", np.float32(max(exact, kind.smallest_scale(exact))))
        zero = self._add(f"trtbuild/{kind.element.lower()}_zero_point", np.float32(0), kind)
        stored, result = f"{key}/quantized", f"{key}/dequantized"
        self.nodes += [
            helper.make_node("QuantizeLinear", [tensor, scale, zero], [stored], f"{key}/QuantizeLinear"),
            helper.make_node("DequantizeLinear", [stored, scale, zero], [result], f"{key}/DequantizeLinear"),
        ]
        self.done[key] = result
        return result

    def _weight(self, place: Any, kind: NumberFormat) -> str:
        import numpy as np
        from onnx import helper, numpy_helper

        key = f"{place.weight}@{place.axis}" + ("" if kind.element == "INT8" else f"/{kind.name}")
        if key in self.done:
            return self.done[key]
        weight = (
            self.rounded[place.node]
            if place.node in self.rounded
            else quantize_weight(
                numpy_helper.to_array(self.weights[place.weight], base_dir=str(self.folder or "")),
                kind,
                axis=place.axis,
                reduced_axis=place.reduced_axis,
                clip=self.clip,
            )
        )
        inputs = [
            self._add(f"{key}/{kind.element.lower()}", weight.numbers, kind),
            self._add(f"{key}/scale", weight.scale),
            self._add(f"{key}/zero_point", np.zeros(weight.scale.shape, np.float32), kind),
        ]
        node = helper.make_node("DequantizeLinear", inputs, [f"{key}/dequantized"], f"{key}/DequantizeLinear")
        node.attribute.extend(_attributes(weight))
        self.nodes.append(node)
        self.done[key] = f"{key}/dequantized"
        return self.done[key]

    def _add(self, name: str, values: Any, kind: NumberFormat | None = None) -> str:
        """Adds a constant, in a format's element type where one is given; returns its name."""
        import numpy as np
        from onnx import TensorProto, helper, numpy_helper

        if name not in self.new:
            array = np.asarray(values)
            if kind is None:
                self.new[name] = numpy_helper.from_array(array, name)
            else:
                element = TensorProto.DataType.Value(kind.element)
                as_type = helper.tensor_dtype_to_np_dtype(element)
                self.new[name] = numpy_helper.from_array(array.astype(as_type), name)
        return name


def _attributes(weight: QuantizedWeight) -> list[Any]:
    from onnx import helper

    found = []
    if weight.axis is not None:
        found.append(helper.make_attribute("axis", weight.axis))
    if weight.block is not None:
        found.append(helper.make_attribute("block_size", weight.block))
    return found
