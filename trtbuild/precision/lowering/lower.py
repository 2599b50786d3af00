"""Lowers a graph to FP16 or BF16 with Cast nodes, for strongly typed builds.

What an operator may compute in is read from ONNX's own schemas: a type variable that is bound to FP32 and admits the
lower type is lowered, with all the inputs and outputs that share it. Every FP32 tensor keeps its name; its lower form
is a second tensor, and a Cast makes either from the other where it is read. Graph inputs and outputs keep their types
unless asked otherwise.

What stays in FP32 is said by ``fragile`` (structure), ``half_ranges`` (numbers) and the caller. Q/DQ pairs stay what
they are; ``scales`` says in which type their scales are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from trtbuild import onnxfile
from trtbuild.matrixops import MATRIX_OPS
from trtbuild.onnxfile import reads
from trtbuild.precision.lowering import fragile, half_ranges, scales
from trtbuild.precision.lowering.float_graph import FloatGraph, Range, without_constant_nodes
from trtbuild.precision.lowering.fragile import LowPrecision
from trtbuild.precision.lowering.interface import lower_interface

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_KEEP = {
    "Range", "CumSum", "ReduceSumSquare", "ReduceL2", "ReduceLogSumExp", "ReduceLogSum", "LpNormalization",
    "NonMaxSuppression", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial",
    "EyeLike", "SequenceConstruct", "SequenceInsert", "SequenceAt", "SplitToSequence", "ConcatFromSequence", "Optional",
    "OptionalGetElement",
}  # fmt: skip
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Lowered:
    """What ``lower`` did.

    Attributes:
        model: The lowered model.
        kept: Node that stayed in FP32 although its inputs are FP32 numbers, to the reason.
        clamped: Weights with finite values beyond the lower type, clamped to its range; masks to -30000 in FP16.
        notes: What a reader should know: numbers that FP16 holds badly, masks that were cut off.
        unable: Those of ``kept`` that have no lower form; all others stayed on purpose.
    """

    model: ModelProto
    kept: Mapping[str, str]
    clamped: tuple[str, ...]
    notes: tuple[str, ...] = ()
    unable: frozenset[str] = frozenset()


def lower(
    model: ModelProto,
    precision: LowPrecision,
    *,
    ranges: Mapping[str, Range] | None = None,
    keep: Mapping[str, str] = _NONE,
    io: Literal["keep", "low"] = "keep",
    folder: Path | None = None,
) -> Lowered:
    """Returns a copy of the model whose float work is done in FP16 or BF16.

    Args:
        model: The FP32 model, with Q/DQ or without, its shapes inferred or not.
        precision: Which of the two.
        ranges: Tensor name to the smallest and largest value seen in FP32; those missing are unknown.
        keep: Further nodes that stay in FP32, to the reason.
        io: Whether float inputs and outputs of the graph keep their types, or take the lower one too.
        folder: Where weights lie that are not in memory; those that are not lowered stay there.
    """
    graph = FloatGraph(without_constant_nodes(model), ranges or {}, folder)
    lowering = _Lowering(graph, precision, keep)
    done = lowering.run()
    if io == "low":
        done = lower_interface(done, lowering.low, lowering.suffix, lowering.wide)
    unable = frozenset(lowering.kept) - lowering.on_purpose
    return Lowered(done, lowering.kept, tuple(lowering.clamped), tuple(lowering.notes), unable)


def _judge(
    graph: FloatGraph, precision: LowPrecision, keep: Mapping[str, str]
) -> tuple[half_ranges.Fit, dict[str, str]]:
    """What does not fit, and which nodes stay in FP32 for it or for another reason."""
    fit = half_ranges.find(graph) if precision == "fp16" else half_ranges.Fit()
    counted, whole = fragile.counting(graph, precision)
    fit.wide |= whole
    if precision == "fp16":
        fit.wide |= fragile.guards(graph)
    kept = {**fragile.squares(graph, precision), **fit.keep, **counted, **keep}
    for node in graph.model.graph.node:
        own = fragile.by_operator(node, precision)
        if own is not None:
            kept.setdefault(node.name, own)
        if not any(graph.is_float(name) for name in node.output):
            continue
        reason = next((fit.wide[name] for name in graph.float_tensors(node) if name in fit.wide), None)
        if reason is not None:
            kept.setdefault(node.name, reason)
    return fit, kept


class _Lowering:
    def __init__(self, graph: FloatGraph, precision: LowPrecision, keep: Mapping[str, str]) -> None:
        import onnx

        self.precision = precision
        self.low = onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.BFLOAT16
        self.graph, self.model = graph, graph.model
        self.suffix = low_suffix(self.model, precision)
        self.types = graph.types
        self.weights = graph.weights
        self.opset = onnxfile.opset(self.model) or 17
        self.fit, self.kept = _judge(graph, precision, keep)
        self.on_purpose = frozenset(self.kept)
        self.wide = self.fit.wide
        self.notes = self.fit.notes
        self.clamped: list[str] = []
        self.made: set[str] = set()  # second forms that exist: lower ones, and FP32 ones of lowered results
        self.lowered: set[str] = set()  # tensors whose first form is the lower one
        self.nodes: list[NodeProto] = []

    def run(self) -> ModelProto:
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
        if self.precision == "bf16":
            self.notes += fragile.ties(self.graph, {name + self.suffix for name in self.lowered})
        return self.model

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
        if node.op_type in scales.PAIR:
            return scales.plan(self.graph, node, self.opset)
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
                return low
            source = self._floored(name) if name in self.fit.floors else name
            self.nodes.append(helper.make_node("Cast", [source], [low], f"{name}/to_{self.precision}", to=self.low))
        return low

    def _floored(self, name: str) -> str:
        """An FP32 mask, cut off where its Cast would make it -Inf."""
        from onnx import helper

        floor, cut = "trtbuild/mask_floor" + self.suffix, f"{name}/floored{self.suffix}"
        if floor not in self.made:
            self.made.add(floor)
            self.model.graph.initializer.append(helper.make_tensor(floor, 1, [], [half_ranges.MASK_FLOOR]))
        self.nodes.append(helper.make_node("Max", [name, floor], [cut], cut))
        self.notes.append(f"mask {name!r} is cut off at {half_ranges.MASK_FLOOR:.0f}")
        return cut

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

        if name in self.fit.weight_notes:
            self.notes.append(self.fit.weight_notes[name])
        values = self.graph.values(name)
        bf16 = self.precision == "bf16"
        largest = half_ranges.BF16_LARGEST if bf16 else half_ranges.LARGEST
        least = half_ranges.MASK_FLOOR if name in self.fit.floors else -largest
        finite = np.isfinite(values)
        if (finite & ((values > largest) | (values < -largest))).any():
            self.clamped.append(name)
            values = np.where(finite, np.clip(values, least, largest), values)
        made = self.model.graph.initializer.add(name=low, data_type=self.low, dims=values.shape)  # no copy of a copy
        made.raw_data = values.astype(ml_dtypes.bfloat16 if bf16 else np.float16).tobytes()

    def _drop_unused(self) -> None:
        used = {name for node in self.model.graph.node for name in reads(node)}
        used |= {o.name for o in self.model.graph.output}
        weights = self.model.graph.initializer
        for index in reversed([i for i, t in enumerate(weights) if t.name not in used]):
            del weights[index]  # one by one: taking out all and putting back some would copy these


def low_suffix(model: ModelProto, precision: LowPrecision) -> str:
    """What is added to a tensor's name to name its lower form; longer where a tensor of that name is there already."""
    suffix = f"/{precision}"
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
