"""Estimated times of a plan or a graph on a target, from datasheet rates: nobody has run anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Bound = Literal["compute", "memory", "cache"]
"""What limits a part: the arithmetic, the memory, or neither, for all that it moves stays in the last-level cache and
no figure says how fast that is."""


@dataclass(frozen=True)
class PartEstimate:
    """One kernel of a plan, or one group of nodes of a graph.

    Attributes:
        name: The kernel's name, or the first node's.
        nodes: ONNX nodes whose work it does.
        precision: What its matrix work is done in; of other work, what it reads.
        macs: Multiply-accumulates.
        bytes: Bytes it reads and writes, every tensor once.
        bound: What the estimate is limited by.
        estimated_seconds: Larger of operations / peak rate and bytes / bandwidth; what fits into the cache is free.
        estimated_seconds_uncached: The same where nothing stays in the cache.
    """

    name: str
    nodes: tuple[str, ...]
    precision: str
    macs: int
    bytes: int
    bound: Bound
    estimated_seconds: float
    estimated_seconds_uncached: float


@dataclass(frozen=True)
class Estimate:
    """An estimate of one run, part after part: no launches, no two parts at a time.

    Attributes:
        precision: Of the plan, or that the graph is taken in.
        target: The target's name.
        sizes: Size of each named axis.
        parts: Kernels or groups of nodes, in order.
        estimated_seconds: Sum over the parts.
        estimated_seconds_uncached: The same where nothing stays in the cache between two parts.
        bound_shares: Bound to its share of ``estimated_seconds``, 0 to 1.
        unknown: Parts of which not all work or bytes are known: they are estimated too low.
        assumed: What was not in the target's figures, in words.
        source: Where the target's figures come from.
    """

    precision: str
    target: str
    sizes: Mapping[str, int]
    parts: tuple[PartEstimate, ...]
    estimated_seconds: float
    estimated_seconds_uncached: float
    bound_shares: Mapping[Bound, float]
    unknown: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    source: str = ""

    @property
    def longest(self) -> tuple[PartEstimate, ...]:
        """The parts, those that take longest first."""
        return tuple(sorted(self.parts, key=lambda p: (-p.estimated_seconds, -p.estimated_seconds_uncached)))
