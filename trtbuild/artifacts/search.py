"""What quantising each node costs in accuracy, and the front of graphs that a search found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trtbuild.artifacts.graphs import TriedTransform


@dataclass(frozen=True)
class NodeSensitivity:
    """What one node in one low-precision format does to the model's output, all others in FP32.

    Attributes:
        node: Node name.
        op: Operator type.
        format: The format it was quantised to.
        noise: Error power over signal power at the output it harms most; noises of nodes add up, about.
        sqnr_db: The same in dB: -10 log10(noise); 300 where there is no error at all.
        macs: Multiply-accumulates at the opt shape; 0 where ONNX cannot infer the shapes.
        weight_bytes: Bytes of its weight in the format, scales left out.
        seconds: What measuring it took.
    """

    node: str
    op: str
    format: str
    noise: float
    sqnr_db: float
    macs: int
    weight_bytes: int
    seconds: float = 0.0


@dataclass(frozen=True)
class SensitivityTable:
    """The sensitivity of a model's nodes.

    Attributes:
        graph: Digest of the ONNX model.
        data: Digest of the samples.
        how: ``exact``: one run a node. ``fast``: estimated from tensors at hand, and scaled so that the sum is what one
            run with every node quantised shows.
        samples: Rows that were run.
        nodes: One entry a node and format, in the graph's order.
        left_out: Nodes that the time budget left unmeasured: they are to stay in a higher precision.
        notes: What a reader should know.
    """

    graph: str
    data: str
    how: Literal["fast", "exact"]
    samples: int
    nodes: tuple[NodeSensitivity, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrontPoint:
    """One graph of a front: as accurate as any that takes no longer.

    Attributes:
        raised: Nodes that are not in their cheapest format, to the format they are in.
        predicted_db: SQNR if the nodes' noises add up, in dB.
        seconds: Target name to the estimated time of the matrix work, in seconds.
        weight_bytes: Bytes of the matrix weights.
        shares: Format to its share (0 to 1) of the multiply-accumulates of nodes with a constant weight.
        sqnr_db: SQNR of the worst output, measured on the judging rows; None where it was not run.
        cosine: Mean cosine of the worst output, measured likewise.
        bound: What the floor's metric is held to exceed on as many other rows, at 95 %.
        holds: Whether ``bound`` is at least the floor.
    """

    raised: Mapping[str, str]
    predicted_db: float
    seconds: Mapping[str, float]
    weight_bytes: int
    shares: Mapping[str, float]
    sqnr_db: float | None = None
    cosine: float | None = None
    bound: float | None = None
    holds: bool | None = None


@dataclass(frozen=True)
class Front:
    """What a search for the cheapest graph that holds an accuracy floor came to.

    Attributes:
        metric: ``cosine`` or ``sqnr``.
        min: The floor.
        cheapest: Node to its cheapest format; a point names what it has otherwise.
        points: From the cheapest to the most accurate.
        chosen: Number of the point that was picked; None where none holds the floor.
        judged_on: Rows that decided.
        runs: Graphs that were run.
        complete: False where the time budget ended the search.
        tried: What was tried for better numbers before the search; what was kept is in every graph of the front.
        notes: What a reader should know.
        sensitivity: What the search went by; None where it was not kept.
    """

    metric: Literal["cosine", "sqnr"]
    min: float
    cheapest: Mapping[str, str]
    points: tuple[FrontPoint, ...]
    chosen: int | None
    judged_on: int
    runs: int
    complete: bool
    tried: tuple[TriedTransform, ...] = ()
    notes: tuple[str, ...] = ()
    sensitivity: SensitivityTable | None = None

    @property
    def rounds_weights(self) -> bool:
        """Whether the INT8 weights of the front's graphs are rounded so that errors make up for each other."""
        return any(t.kept and t.name == "weight_rounding" for t in self.tried)

    @property
    def clips_weights(self) -> bool:
        """Whether the graphs of the front have their largest weights clipped."""
        return any(t.kept and t.name == "weight_clipping" for t in self.tried)
