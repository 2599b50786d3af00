"""What the rules of lowering read a graph by: who makes and reads a tensor, constants, measured ranges, shapes."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

MOVES = {
    "Identity", "Reshape", "Expand", "Unsqueeze", "Squeeze", "Transpose", "Slice", "Gather", "GatherElements",
    "GatherND", "Concat", "Tile", "Flatten", "Split", "Dropout",
}  # fmt: skip
"""Operators that hand values on without computing with them."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Magnitudes:
    """The size of a constant's numbers.

    Attributes:
        least: Smallest finite number, with its sign.
        most: Largest finite number, with its sign.
        nan: Whether one of them is NaN.
    """

    least: float
    most: float
    nan: bool

    @property
    def amax(self) -> float:
        """Largest finite |x|."""
        return max(-self.least, self.most)


@dataclass(frozen=True)
class FloatGraph:
    """A graph's main level; nodes inside If and Loop count as readers only.

    Attributes:
        model: The model, Constant nodes turned into weights.
        measured: Tensor name to the smallest and largest value seen in FP32.
        folder: Where weights lie that are not in memory.
    """

    model: ModelProto
    measured: Mapping[str, Range] = field(default_factory=dict)
    folder: Path | None = None

    @cached_property
    def types(self) -> dict[str, int]:
        """ONNX element type of each tensor that ONNX can infer."""
        return onnxfile.element_types(self.model)

    @cached_property
    def weights(self) -> dict[str, Any]:
        """Constants by name."""
        return {t.name: t for t in self.model.graph.initializer}

    @cached_property
    def producers(self) -> dict[str, NodeProto]:
        """Tensor to the node that makes it."""
        return {name: node for node in self.model.graph.node for name in node.output if name}

    @cached_property
    def readers(self) -> dict[str, list[NodeProto]]:
        """Tensor to the nodes that read it, from inside their subgraphs too."""
        found: dict[str, list[NodeProto]] = {}
        for node in self.model.graph.node:
            for name in dict.fromkeys(onnxfile.reads(node)):
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def outputs(self) -> set[str]:
        """Names of the graph's outputs."""
        return {o.name for o in self.model.graph.output}

    @cached_property
    def shapes(self) -> dict[str, tuple[int | str | None, ...]]:
        """Shapes ONNX can infer; an axis is a number, a name, or None."""
        return {
            v.name: tuple(
                d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in v.type.tensor_type.shape.dim
            )
            for v in onnxfile.inferred(self.model)
            if v.type.tensor_type.HasField("shape")
        }

    @cached_property
    def ranges(self) -> dict[str, Range]:
        """Measured ranges, finite ends only, and what follows from them: a DequantizeLinear hands on what Q took."""
        found = {}
        for name, (low, high) in self.measured.items():
            if not (math.isnan(low) or math.isnan(high)):
                found[name] = (low if math.isfinite(low) else 0.0, high if math.isfinite(high) else 0.0)
        for node in self.model.graph.node:
            source = node.input[0] if node.op_type in ("QuantizeLinear", "DequantizeLinear") else None
            if source in found:
                found.setdefault(node.output[0], found[source])
        return found

    def is_float(self, name: str) -> bool:
        """Whether a tensor is FP32."""
        return self.types.get(name) == 1  # TensorProto.FLOAT

    def values(self, name: str) -> NDArray[np.float32]:
        """The numbers of an FP32 constant."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.weights[name], base_dir=str(self.folder or ""))

    def scalar(self, name: str) -> float | None:
        """The number of an FP32 constant whose elements are all the same."""
        if name not in self.weights or not self.is_float(name):
            return None
        numbers = self.values(name)
        if numbers.size == 0 or (numbers.size > 1 and not (numbers == numbers.flat[0]).all()):
            return None
        return float(numbers.flat[0])

    @cached_property
    def magnitudes(self) -> dict[str, Magnitudes]:
        """Of each FP32 constant that has elements."""
        import numpy as np

        found = {}
        for name in self.weights:
            numbers = self.values(name) if self.is_float(name) else None
            if numbers is None or not numbers.size:
                continue
            finite = np.isfinite(numbers)
            least, most = numbers.min(where=finite, initial=np.inf), numbers.max(where=finite, initial=-np.inf)
            ends = (float(least), float(most)) if finite.any() else (0.0, 0.0)
            found[name] = Magnitudes(*ends, nan=bool(np.isnan(numbers).any()))
        return found

    def float_tensors(self, node: NodeProto) -> Iterator[str]:
        """FP32 tensors a node reads directly or makes, constants not among them."""
        for name in (*node.input, *node.output):
            if name and name not in self.weights and self.is_float(name):
                yield name

    def elements_per_result(self, node: NodeProto) -> int | None:
        """How many elements of a reduction's input become one of its output; None where an axis has no known size."""
        before, after = self.shapes.get(node.input[0]), self.shapes.get(node.output[0])
        if before is None or after is None:
            return None
        left = list(before)
        for size in after:
            if size in left and size != 1:
                left.remove(size)
        return math.prod(left) if all(isinstance(d, int) for d in left) else None  # type: ignore[arg-type]


def without_constant_nodes(model: ModelProto) -> ModelProto:
    """A copy of the model in which the main graph's float Constant nodes are weights."""
    from onnx import helper

    nodes, weights = [], list(model.graph.initializer)
    for node in model.graph.node:
        value = node.attribute[0] if node.op_type == "Constant" and node.attribute else None
        if value is not None and value.name == "value":
            weights.append(copy.deepcopy(value.t))
        elif value is not None and value.name in ("value_float", "value_floats"):
            shape = [] if value.name == "value_float" else [len(value.floats)]
            numbers = list(value.floats) or [value.f]
            weights.append(helper.make_tensor(node.output[0], 1, shape, numbers))
        else:
            nodes.append(node)
            continue
        weights[-1].name = node.output[0]
    made = onnxfile.with_graph(model, nodes, weights)
    made.ir_version = max(made.ir_version, 4)  # before, every weight had to be an input as well
    return made
