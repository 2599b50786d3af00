"""Lowers a graph to FP16 or BF16 with Cast nodes, for strongly typed builds.

What an operator may compute in is read from ONNX's own schemas: a type variable that is bound to FP32 and admits the
lower type is lowered, with all the inputs and outputs that share it. Every FP32 tensor keeps its name; its lower form
is a second tensor, and a Cast makes either from the other where it is read. Graph inputs and outputs keep their types.

Left in FP32, because FP16 ends at 65504: squares and what sums them, up to the root (the norms exporters spell out),
and nodes with subgraphs. TensorRT computes LayerNormalization and Softmax in FP32 whatever their inputs are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from trtbuild.matrixops import MATRIX_OPS
from trtbuild.onnxfile import element_types, reads

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

LowPrecision = Literal["fp16", "bf16"]

_KEEP = {
    "Range", "CumSum", "ReduceSumSquare", "ReduceL2", "ReduceLogSumExp", "ReduceLogSum", "LpNormalization",
    "NonMaxSuppression", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial",
    "QuantizeLinear", "DequantizeLinear", "EyeLike",
}  # fmt: skip
_AFTER_SQUARE = {"ReduceMean", "ReduceSum", "Add", "Sqrt", "Reciprocal", "Mul", "Div", "Pow"}
_FP16_MAX = 65504.0


@dataclass(frozen=True)
class Lowered:
    """What ``lower`` did.

    Attributes:
        model: The lowered model.
        kept: Node that stayed in FP32 although its inputs are FP32 numbers, to the reason.
        clamped: Weights with finite values beyond FP16, clamped to its range.
    """

    model: ModelProto
    kept: Mapping[str, str]
    clamped: tuple[str, ...]


def lower(model: ModelProto, precision: LowPrecision) -> Lowered:
    """Returns a copy of the model whose float work is done in FP16 or BF16.

    Args:
        model: The FP32 model, weights in memory, its shapes inferred or not.
        precision: Which of the two.
    """
    return _Lowering(model, precision).run()


class _Lowering:
    def __init__(self, model: ModelProto, precision: LowPrecision) -> None:
        import onnx

        self.precision = precision
        self.low = onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.BFLOAT16
        self.suffix = _free_suffix(model, f"/{precision}")
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.types = element_types(model)
        self.weights = {t.name: t for t in model.graph.initializer}
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=17)
        self.kept = _squares(model)
        self.clamped: list[str] = []
        self.made: set[str] = set()  # second forms that exist: lower ones, and FP32 ones of lowered results
        self.lowered: set[str] = set()  # tensors whose first form is the lower one
        self.nodes: list[NodeProto] = []

    def run(self) -> Lowered:
        for node in list(self.model.graph.node):
            plan = self._plan(node)
            if plan is None:
                for name in reads(node):
                    self._want_fp32(name)
                self.nodes.append(node)
                if node.op_type in MATRIX_OPS and not all(self.types.get(name) for name in node.input[:2]):
                    self.kept.setdefault(node.name, "ONNX cannot infer the element type of its inputs")
            else:
                self._lower(node, *plan)
        for output in self.model.graph.output:
            self._want_fp32(output.name)
        del self.model.graph.node[:]
        self.model.graph.node.extend(self.nodes)
        del self.model.graph.value_info[:]
        self._drop_unused()
        return Lowered(self.model, self.kept, tuple(self.clamped))

    def _plan(self, node: NodeProto) -> tuple[list[int], list[int]] | None:
        """Which inputs and outputs of a node are lowered; None when it stays as it is."""
        import onnx

        if node.name in self.kept or node.op_type in _KEEP or _has_subgraph(node):
            return None
        if node.op_type == "Cast":
            to = next(a for a in node.attribute if a.name == "to")
            return ([], [0]) if to.i == onnx.TensorProto.FLOAT else None
        if node.op_type == "ConstantOfShape":
            return None
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opset, node.domain)
        except onnx.defs.SchemaError:
            self.kept[node.name] = f"{node.domain}:{node.op_type} has no schema to read its types from"
            return None
        name = "tensor(float16)" if self.precision == "fp16" else "tensor(bfloat16)"
        free = {c.type_param_str for c in schema.type_constraints if name in c.allowed_type_strs}
        bound = {
            kind
            for kind, tensor in _formal(schema.inputs, node.input)
            if self.types.get(tensor) == onnx.TensorProto.FLOAT
        }
        variables = free & bound
        if not variables:
            if bound and node.op_type not in ("Shape", "Size"):
                self.kept[node.name] = f"{node.op_type} has no {self.precision} form at opset {self.opset}"
            return None
        inputs = [
            i for i, (kind, tensor) in enumerate(_formal(schema.inputs, node.input)) if kind in variables and tensor
        ]
        outputs = [
            i for i, (kind, tensor) in enumerate(_formal(schema.outputs, node.output)) if kind in variables and tensor
        ]
        return inputs, outputs

    def _lower(self, node: NodeProto, inputs: list[int], outputs: list[int]) -> None:
        for index, name in enumerate(list(node.input)):
            if index in inputs:
                node.input[index] = self._want_low(name)
            elif name and node.op_type != "Cast":
                self._want_fp32(name)
            elif name in self.lowered:  # a Cast reads the form that is there
                node.input[index] = name + self.suffix
        if node.op_type == "Cast":
            next(a for a in node.attribute if a.name == "to").i = self.low
        for index in outputs:
            name = node.output[index]
            self.lowered.add(name)
            self.made.add(name + self.suffix)
            node.output[index] = name + self.suffix
        self.nodes.append(node)

    def _want_low(self, name: str) -> str:
        """The lower form of a tensor, made here when it is read for the first time."""
        from onnx import helper

        low = name + self.suffix
        if low not in self.made:
            self.made.add(low)
            if name in self.weights:
                self._lower_weight(name, low)
            else:
                self.nodes.append(helper.make_node("Cast", [name], [low], f"{name}/to_{self.precision}", to=self.low))
        return low

    def _want_fp32(self, name: str) -> None:
        """Makes sure that the FP32 form of a tensor exists."""
        from onnx import TensorProto, helper

        if name in self.lowered and name not in self.made:
            self.made.add(name)
            source = name + self.suffix
            self.nodes.append(helper.make_node("Cast", [source], [name], f"{name}/to_fp32", to=TensorProto.FLOAT))

    def _lower_weight(self, name: str, low: str) -> None:
        import ml_dtypes
        import numpy as np
        from onnx import helper, numpy_helper

        values = numpy_helper.to_array(self.weights[name])
        if self.precision == "fp16":
            finite = np.isfinite(values)
            if (np.abs(values[finite]) > _FP16_MAX).any():
                self.clamped.append(name)
                values = np.where(finite, np.clip(values, -_FP16_MAX, _FP16_MAX), values)
            tensor = numpy_helper.from_array(values.astype(np.float16), low)
        else:
            raw = values.astype(ml_dtypes.bfloat16).tobytes()
            tensor = helper.make_tensor(low, self.low, values.shape, raw, raw=True)
        self.model.graph.initializer.append(tensor)

    def _drop_unused(self) -> None:
        used = {name for node in self.model.graph.node for name in reads(node)}
        used |= {o.name for o in self.model.graph.output}
        kept = [t for t in self.model.graph.initializer if t.name in used]
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(kept)


def _free_suffix(model: ModelProto, suffix: str) -> str:
    """The suffix, longer where a tensor of the model would get a name that another one has."""
    graph = model.graph
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    names |= {v.name for v in (*graph.input, *graph.initializer)}
    while any(name + suffix in names for name in names):
        suffix += "_"
    return suffix


def _formal(parameters: Any, actual: Any) -> list[tuple[str, str]]:
    """Each actual input or output with the type variable of its formal parameter; the last one may repeat."""
    if not parameters:
        return []
    return [(parameters[min(i, len(parameters) - 1)].type_str, name) for i, name in enumerate(actual)]


def _has_subgraph(node: NodeProto) -> bool:
    return any(a.HasField("g") or a.graphs for a in node.attribute)


def _squares(model: ModelProto) -> dict[str, str]:
    """Nodes between a square and the root that undoes it."""
    import numpy as np
    from onnx import numpy_helper

    small = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if len(t.raw_data) <= 8}
    tainted: set[str] = set()
    kept: dict[str, str] = {}
    for node in model.graph.node:
        exponent = small.get(node.input[1]) if node.op_type == "Pow" else None
        squares = (exponent is not None and bool(np.all(np.abs(exponent) >= 2))) or (
            node.op_type == "Mul" and node.input[0] == node.input[1]
        )
        if squares:
            kept[node.name] = "a square leaves the FP16 range at 256"
        elif node.op_type in _AFTER_SQUARE and any(i in tainted for i in node.input):
            kept[node.name] = "works on squares"
        else:
            continue
        if node.op_type not in ("Sqrt", "Reciprocal"):
            tainted.update(node.output)
    return kept
