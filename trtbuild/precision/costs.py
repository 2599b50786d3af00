"""What a node costs on a target, estimated by its roofline: nobody has run it.

``seconds = max(operations / peak rate of the format, bytes / memory bandwidth)``, at one set of axis sizes. Bytes are
the weight, the activation and the result once each; an activation and a result that fit into the last-level cache
together stay there and cost no bandwidth. Results are written in the precision of what is not quantised. Where nothing
but an activation function lies between two nodes, TensorRT writes the first one's result in the format that the second
one reads: so the second one's format pays for writing and reading it. Launches, reformats between formats and other
fusion are left out, so the times rank choices and foretell no latency.

A rate that the target's figures do not name is taken in ratio to one that they do. A target without figures is taken
for one of 200 x 10^12 FP16 operations and 10^12 bytes a second; only ratios of its times mean anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.artifacts import TargetRates
from trtbuild.matrixops import MatrixNode, matrix_nodes, multiply_accumulates, tensor_bytes
from trtbuild.onnxfile import reads

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

RATIOS: Mapping[str, float] = {
    "fp32": 0.25, "tf32": 0.5, "fp16": 1.0, "bf16": 1.0, "int8": 2.0, "fp8": 2.0, "int4": 4.0, "fp4": 4.0,
}  # fmt: skip
"""Matrix rates relative to FP16's, from Ampere on (fp32 without tensor cores varies most: 1/2 to 1/28)."""

GENERIC_FP16 = 200e12
GENERIC_BANDWIDTH = 1e12

_COMPUTED_IN = {"int8_weights": None, "int4": None}  # weights alone are stored so; the products are the rest's
_BYTES: Mapping[str, tuple[float, float]] = {  # an activation's and a weight's element, in bytes; None: as the rest
    "fp32": (4, 4), "tf32": (4, 4), "fp16": (2, 2), "bf16": (2, 2), "int8": (1, 1), "fp8": (1, 1),
    "int8_weights": (math.nan, 1), "int4": (math.nan, 0.5),
}  # fmt: skip


_FUSED = {
    "Add", "BatchNormalization", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mul",
    "Relu", "Sigmoid", "Tanh",
}  # fmt: skip


@dataclass(frozen=True)
class NodeWork:
    """What one matrix node does at one set of axis sizes.

    Attributes:
        macs: Multiply-accumulates; 0 where ONNX cannot infer the shapes.
        read: Elements of the activations; twice where the node before writes them for this one.
        weight: Elements of the weight; 0 for a product of two activations.
        written: Elements of the result; 0 where it is written for the next node, which pays.
    """

    macs: int
    read: int
    weight: int
    written: int

    def weight_bytes(self, format_name: str) -> int:
        """Bytes of the weight in a format, its scales left out."""
        return math.ceil(self.weight * _BYTES[format_name][1])


@dataclass(frozen=True)
class Roofline:
    """A target's two limits.

    Attributes:
        target: The target's name.
        peak: Operations a second by format, complete.
        bandwidth: Bytes a second.
        cache: Bytes of the last-level cache.
        assumed: What was not in the target's figures, in words.
    """

    target: str
    peak: Mapping[str, float]
    bandwidth: float
    assumed: tuple[str, ...]
    cache: float = 0.0

    def seconds(self, work: NodeWork, format_name: str, rest: str) -> float:
        """Time of one node.

        Args:
            work: What it does.
            format_name: What it is stored in.
            rest: Precision of what is not quantised: ``fp16``, ``bf16``, ``fp32`` or ``tf32``.
        """
        computed = rest if format_name in _COMPUTED_IN else format_name
        activation, weight = _BYTES[format_name]
        activation = _BYTES[rest][0] if math.isnan(activation) else activation
        passing = work.read * activation + work.written * _BYTES[rest][0]
        moved = work.weight * weight + (passing if passing > self.cache else 0.0)
        return max(2 * work.macs / self.peak[computed], moved / self.bandwidth)


def roofline(rates: TargetRates) -> Roofline:
    """Completes a target's figures by ratios."""
    assumed = []
    known = next((n for n in ("fp16", "int8", "fp8", "bf16", "fp4", "int4", "tf32") if n in rates.peak), None)
    fp16 = rates.peak[known] / RATIOS[known] if known else GENERIC_FP16
    missing = [n for n in RATIOS if n not in rates.peak]
    if known is None:
        assumed.append("no matrix rates are known: a GPU of 200 TFLOPS in FP16 is taken")
    elif "fp16" not in rates.peak or "int8" not in rates.peak:
        assumed.append(f"rates of {', '.join(missing)} are taken in ratio to {known}")
    if rates.bandwidth is None:
        assumed.append("no memory bandwidth is known: 1000 GB/s are taken")
    peak = {n: rates.peak.get(n, fp16 * ratio) for n, ratio in RATIOS.items()}
    return Roofline(rates.target, peak, rates.bandwidth or GENERIC_BANDWIDTH, tuple(assumed), rates.cache)


def matrix_work(model: ModelProto, sizes: Mapping[str, int]) -> dict[str, NodeWork]:
    """The work of every matrix node of the FP32 model.

    Args:
        model: The model.
        sizes: Size of each named axis, such as a profile's opt; 1 for one not given.
    """
    shapes = {
        v.name: [d.dim_value or sizes.get(d.dim_param, 1) for d in v.type.tensor_type.shape.dim]
        for v in model.graph.input
    }
    named = {d.dim_param: 1 for v in model.graph.input for d in v.type.tensor_type.shape.dim if d.dim_param}
    macs = multiply_accumulates(model, {**named, **sizes})
    elements = {name: size // 4 for name, size in tensor_bytes(model, shapes).items()}
    results = {n.name: n.output[0] for n in model.graph.node}
    nodes = matrix_nodes(model)
    feeder = _feeders(model, nodes)
    return {
        node.name: NodeWork(
            macs=macs.get(node.name, 0),
            read=sum(elements.get(t, 0) for t in node.activations) * (2 if node.name in feeder else 1),
            weight=elements.get(node.weight, 0) if node.weight else 0,
            written=0 if node.name in feeder.values() else elements.get(results[node.name], 0),
        )
        for node in nodes
    }


def _feeders(model: ModelProto, nodes: Sequence[MatrixNode]) -> dict[str, str]:
    """Weighted node to the matrix node whose result it reads, alone, through nothing but what is fused into that."""
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in reads(node):
            readers.setdefault(name, []).append(node)
    outputs = {o.name for o in model.graph.output}
    constant = {t.name for t in model.graph.initializer}
    weighted = {n.name for n in nodes if n.weight}
    results = {n.name: n.output[0] for n in model.graph.node}
    found = {}
    for feeder in nodes:
        tensor = results[feeder.name]
        while len(readers.get(tensor, ())) == 1 and tensor not in outputs:
            (reader,) = readers[tensor]
            if reader.name in weighted:
                found[reader.name] = feeder.name
                break
            if reader.op_type not in _FUSED or any(t != tensor and t not in constant for t in reads(reader)):
                break
            tensor = reader.output[0]
    return found


@dataclass(frozen=True)
class Costs:
    """Estimated times of a model's matrix nodes in every format, on every target.

    Attributes:
        work: Node to what it does.
        rooflines: One a target; the targets share one graph, so all of them count.
        rest: Precision of what is not quantised.
    """

    work: Mapping[str, NodeWork]
    rooflines: Sequence[Roofline]
    rest: str

    def seconds(self, node: str, format_name: str) -> dict[str, float]:
        """Target to the node's time."""
        return {r.target: r.seconds(self.work[node], format_name, self.rest) for r in self.rooflines}

    def relative(self, node: str, format_name: str) -> float:
        """The node's time as a share of all matrix work unquantised, averaged over the targets."""
        shares = [self.seconds(node, format_name)[t] / whole for t, whole in self.unquantised().items() if whole > 0]
        return sum(shares) / len(shares) if shares else 0.0

    def unquantised(self) -> dict[str, float]:
        """Target to the time of all matrix nodes in ``rest``."""
        return {r.target: sum(r.seconds(w, self.rest, self.rest) for w in self.work.values()) for r in self.rooflines}

    def total(self, formats: Mapping[str, str]) -> dict[str, float]:
        """Target to the time of all matrix nodes; those not named are in ``rest``."""
        return {
            r.target: sum(r.seconds(w, formats.get(n, self.rest), self.rest) for n, w in self.work.items())
            for r in self.rooflines
        }

    def weight_bytes(self, formats: Mapping[str, str]) -> int:
        """Bytes of all matrix weights."""
        return sum(w.weight_bytes(formats.get(n, self.rest)) for n, w in self.work.items())

    def shares(self, formats: Mapping[str, str]) -> dict[str, float]:
        """Format to its share of the multiply-accumulates of nodes that have a constant weight."""
        weighted = {n: w.macs for n, w in self.work.items() if w.weight}
        whole = sum(weighted.values()) or 1
        found: dict[str, float] = {}
        for node, macs in weighted.items():
            kind = formats.get(node, self.rest)
            found[kind] = found.get(kind, 0.0) + macs / whole
        return found


def costs_of(model: ModelProto, sizes: Mapping[str, int], targets: Sequence[TargetRates], rest: str) -> Costs:
    """The costs of a model on some targets.

    Args:
        model: The FP32 model.
        sizes: Size of each named axis, such as the first profile's opt.
        targets: The targets' figures; a generic one is taken where there is none.
        rest: Precision of what is not quantised.
    """
    rooflines = [roofline(t) for t in targets] or [roofline(TargetRates("generic", {}, None))]
    return Costs(matrix_work(model, sizes), tuple(rooflines), rest)
