"""Estimates an ONNX graph before there is a plan: which precision is worth building, on which target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.artifacts import Estimate, PartEstimate, TargetRates
from trtbuild.matrixops import node_precisions
from trtbuild.roofline.kernels import estimated, summed
from trtbuild.roofline.parts import Graph, Part, named
from trtbuild.roofline.rates import ELEMENT_BYTES, Roofline, roofline

if TYPE_CHECKING:
    from onnx import ModelProto

_QUANTISED = ("int8", "fp8", "int8_weights", "int4")
_FUSES_ATTENTION = ("fp16", "bf16")
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", *_QUANTISED)
"""What a graph can be taken in."""


def graph_estimates(
    model: ModelProto,
    targets: Sequence[TargetRates],
    sizes: Mapping[str, int],
    precisions: Sequence[str | None] = (None,),
) -> list[Estimate]:
    """A graph's times on some targets, estimated.

    Args:
        model: An FP32 model, or one whose precision is written in it.
        targets: The targets' figures.
        sizes: Size of each named axis, such as a profile's opt; 1 for one not given.
        precisions: What an FP32 model's matrix nodes with weights are taken to be in: ``int8`` and the other quantised
            ones with FP16 for the rest. None: as the model has it.

    Returns:
        One a target and precision, target after target.
    """
    model = named(model)
    graph = Graph(model, sizes)
    known = {axis: sizes.get(axis, 1) for axis in graph.axes}
    found = []
    for rates in targets:
        roof = roofline(rates)
        for precision in precisions:
            taken = _taken(graph, model, precision)
            cut = graph.parts(fused_attention=taken.rest in _FUSES_ATTENTION)
            parts = [taken.estimate(part, roof) for part in cut]
            unknown = [part.nodes[0] for part in cut if graph.unsized.intersection(part.nodes)]
            said = precision or ", ".join(dict.fromkeys(taken.nodes.values())) or taken.rest
            found.append(summed(said, roof, rates, known, parts, unknown))
    return found


def graph_estimate(
    model: ModelProto, rates: TargetRates, sizes: Mapping[str, int], precision: str | None = None
) -> Estimate:
    """One target's and one precision's; arguments as for ``graph_estimates``."""
    return graph_estimates(model, [rates], sizes, [precision])[0]


def override_share(
    model: ModelProto, typed: ModelProto, rates: TargetRates, sizes: Mapping[str, int], node: str, precision: str
) -> float | None:
    """The time of a typed graph with one matrix node in another precision, of its time as it is; estimated.

    Args:
        model: The FP32 graph, whose nodes have the typed one's names.
        typed: The graph with its precision written in it.
        rates: The target's figures.
        sizes: Size of each named axis; 1 for one not given.
        node: The node.
        precision: What it is taken to be in.

    Returns:
        1.02 for 2 % more time; None where the node is no matrix work, or where no time is estimated at all.
    """
    assignment = node_precisions(typed)
    graph = Graph(named(model), sizes)
    if node not in assignment or node not in graph.work:
        return None
    rest = Graph(named(typed), sizes).rest()
    roof = roofline(rates)
    parts = graph.parts(fused_attention=rest in _FUSES_ATTENTION)
    seconds = []
    for nodes in (dict(assignment), {**assignment, node: precision}):
        taken = _Precision(graph, rest, nodes, int(ELEMENT_BYTES[rest][0]))
        seconds.append(sum(taken.estimate(part, roof).estimated_seconds for part in parts))
    return seconds[1] / seconds[0] if seconds[0] else None


def _taken(graph: Graph, model: ModelProto, precision: str | None) -> _Precision:
    if precision is None:
        return _Precision(graph, graph.rest(), dict(node_precisions(model)), 4)
    rest = "fp16" if precision in _QUANTISED else precision
    return _Precision(graph, rest, dict.fromkeys(graph.weighted(), precision), int(ELEMENT_BYTES[rest][0]))


@dataclass(frozen=True)
class _Precision:
    """What a graph is taken in.

    Attributes:
        graph: The graph.
        rest: Precision of what is not quantised.
        nodes: Matrix node to its own; the rest's where it is not named.
        single: Bytes of an element that is FP32 in the file.
    """

    graph: Graph
    rest: str
    nodes: Mapping[str, str]
    single: int

    def estimate(self, part: Part, roof: Roofline) -> PartEstimate:
        """One part's time."""
        name = part.nodes[0]
        rest = self.rest
        if part.work:
            kind = self.nodes.get(name, rest)
            limits = [roof.node_limit(part.work, kind, rest, cached=cached) for cached in (True, False)]
            moved = round(limits[1].memory * roof.bandwidth)
            return estimated(name, part.nodes, kind, part.macs, moved, limits)
        gathers = any(n.op_type == "Gather" for n in self.graph.nodes if n.name in part.nodes)
        passing = self._bytes((*part.read, *part.written))
        held = self._bytes(part.held)
        held = min(held, self._bytes(part.written)) if gathers else held
        limits = [roof.limit(part.macs, rest, held, passing, cached=cached) for cached in (True, False)]
        return estimated(name, part.nodes, rest, part.macs, held + passing, limits)

    def _bytes(self, tensors: Iterable[str]) -> int:
        return sum(math.prod(self.graph.shapes[t]) * self._element(t) for t in tensors if t in self.graph.shapes)

    def _element(self, tensor: str) -> int:
        """Bytes of an element."""
        import numpy as np
        from onnx import TensorProto, helper

        kind = self.graph.types.get(tensor, TensorProto.FLOAT)
        if kind in (TensorProto.FLOAT, TensorProto.UNDEFINED):
            return self.single
        return int(np.dtype(helper.tensor_dtype_to_np_dtype(kind)).itemsize)
