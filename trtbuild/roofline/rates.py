"""A target's two limits: operations a second in each number format, and bytes a second from and to its memory.

A rate that the target's figures do not name is taken in ratio to one that they do. A target without figures is taken
for one of 200 x 10^12 FP16 operations and 10^12 bytes a second; only ratios of its times mean anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.artifacts import TargetRates

if TYPE_CHECKING:
    from trtbuild.roofline.nodes import NodeWork

RATIOS: Mapping[str, float] = {
    "fp32": 0.25, "tf32": 0.5, "fp16": 1.0, "bf16": 1.0, "int8": 2.0, "fp8": 2.0, "int4": 4.0, "fp4": 4.0,
}  # fmt: skip
"""Matrix rates relative to FP16's, from Ampere on (fp32 without tensor cores varies most: 1/2 to 1/28)."""

GENERIC_FP16 = 200e12
GENERIC_BANDWIDTH = 1e12

COMPUTED_AS_REST = ("int8_weights", "int4")
"""Formats that weights alone are stored in; the products are computed in what the rest is in."""

ELEMENT_BYTES: Mapping[str, tuple[float, float]] = {  # an activation's and a weight's; NaN: as the rest
    "fp32": (4, 4), "tf32": (4, 4), "fp16": (2, 2), "bf16": (2, 2), "int8": (1, 1), "fp8": (1, 1),
    "int8_weights": (math.nan, 1), "int4": (math.nan, 0.5),
}  # fmt: skip


@dataclass(frozen=True)
class Limit:
    """The time that a roofline gives, and its two parts, in seconds; an estimate.

    Attributes:
        compute: Operations over the peak rate of their format.
        memory: Bytes over the memory bandwidth.
    """

    compute: float
    memory: float

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.compute, self.memory)


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

    def limit(
        self, macs: int, computed: str, constant_bytes: float, passing_bytes: float, *, cached: bool = True
    ) -> Limit:
        """The limit of one kernel.

        Args:
            macs: Multiply-accumulates; each is two operations.
            computed: The format that they are done in.
            constant_bytes: Bytes of weights: they come from memory.
            passing_bytes: Bytes of what comes in and goes out: they pass through memory unless the cache holds them.
            cached: Whether what fits into the cache stays there.
        """
        kept = cached and passing_bytes <= self.cache
        moved = constant_bytes + (0.0 if kept else passing_bytes)
        return Limit(2 * macs / self.peak[computed] if macs else 0.0, moved / self.bandwidth)

    def seconds(self, work: NodeWork, format_name: str, rest: str) -> float:
        """Time of one node.

        Args:
            work: What it does.
            format_name: What it is stored in.
            rest: Precision of what is not quantised: ``fp16``, ``bf16``, ``fp32`` or ``tf32``.
        """
        return self.node_limit(work, format_name, rest).seconds

    def node_limit(self, work: NodeWork, format_name: str, rest: str, *, cached: bool = True) -> Limit:
        """The limit of one node; arguments as for ``seconds`` and ``limit``."""
        computed = rest if format_name in COMPUTED_AS_REST else format_name
        activation, weight = ELEMENT_BYTES[format_name]
        activation = ELEMENT_BYTES[rest][0] if math.isnan(activation) else activation
        passing = work.read * activation + work.written * ELEMENT_BYTES[rest][0]
        return self.limit(work.macs, computed, work.weight * weight, passing, cached=cached)


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
