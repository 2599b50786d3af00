"""What the nodes of a model cost on its targets, for the search: a roofline of each matrix node, estimated.

``seconds = max(operations / peak rate of the format, bytes / memory bandwidth)``, at one set of axis sizes. Bytes are
the weight, the activation and the result once each; an activation and a result that fit into the last-level cache
together stay there and cost no bandwidth. Results are written in the precision of what is not quantised. Where nothing
but an activation function lies between two nodes, TensorRT writes the first one's result in the format that the second
one reads: so the second one's format pays for writing and reading it. Launches, reformats between formats and other
fusion are left out, so the times rank choices and foretell no latency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.artifacts import TargetRates
from trtbuild.roofline import NodeWork, Roofline, matrix_work, roofline

if TYPE_CHECKING:
    from onnx import ModelProto


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


__all__ = ["Costs", "NodeWork", "Roofline", "costs_of", "matrix_work", "roofline"]
