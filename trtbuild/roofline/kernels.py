"""Estimates a finished plan kernel by kernel, from what its kernels read, hold, write and multiply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from trtbuild.artifacts import (
    Bound,
    EngineLayer,
    EngineLayers,
    Estimate,
    LayerTensor,
    OptimizationProfile,
    PartEstimate,
    TargetRates,
)
from trtbuild.roofline.rates import COMPUTED_AS_REST, Limit, Roofline, roofline

_IDLE = {"signal", "wait", "shape_call", "no_op", "noop"}
"""Layer types that neither move nor compute anything on the device."""


class KnownPlan(Protocol):
    """What an estimate reads of a plan: an ``EnginePlan`` has it, and an inspected plan too."""

    @property
    def precision(self) -> str:
        """What was asked for."""

    @property
    def profiles(self) -> tuple[OptimizationProfile, ...]:
        """Optimisation profiles in the plan's order."""

    @property
    def layers(self) -> EngineLayers:
        """The kernels."""


def plan_estimate(plan: KnownPlan, rates: TargetRates, *, profile: int = 0) -> Estimate | None:
    """A plan's time on a target at one profile's opt sizes, estimated.

    Bytes are what each kernel reads, holds and writes, once each, in the types that it really has: so what a reformat
    costs is in it. Operations are those of matrix nodes and attention; elementwise work counts as bytes alone.

    Args:
        plan: The plan, with its kernels.
        rates: The target's figures; any target's, not only the one it was built for.
        profile: Number of the optimisation profile: each has kernels of its own.

    Returns:
        The estimate; None where nothing is known of the plan's kernels, or of what they multiply.
    """
    kernels = [k for k in plan.layers.of_profile(profile) if k.kind.lower() not in _IDLE]
    products = [k.macs for k in kernels if k.role in ("matrix", "attention")]
    if not plan.layers.detailed or (products and not any(products)):
        return None
    roof = roofline(rates)
    sizes = {axis: r.opt for axis, r in plan.profiles[profile].axes.items()} if plan.profiles else {}
    parts = [_part(kernel, roof, tf32=plan.precision == "tf32") for kernel in kernels]
    unknown = tuple(k.name for k in kernels if k.macs is None or k.bytes is None)
    return summed(plan.precision, roof, rates, sizes, parts, unknown)


def _part(kernel: EngineLayer, roof: Roofline, *, tf32: bool) -> PartEstimate:
    passing = _bytes((*kernel.inputs, *kernel.outputs))
    held = _held(kernel) if kernel.bytes is None else kernel.bytes - passing
    macs, computed = kernel.macs or 0, _computed(kernel, roof, tf32=tf32)
    limits = [roof.limit(macs, computed, held, passing, cached=cached) for cached in (True, False)]
    return estimated(kernel.name, kernel.onnx_nodes, kernel.precision, macs, held + passing, limits)


def _held(kernel: EngineLayer) -> int:
    """Bytes of a kernel's constants where not all of its tensors are known; of a table that it gathers from, none."""
    return 0 if "Gath" in kernel.operations else _bytes(kernel.constants)


def _bytes(tensors: Iterable[LayerTensor]) -> int:
    return sum(tensor.bytes or 0 for tensor in tensors)


def _computed(kernel: EngineLayer, roof: Roofline, *, tf32: bool) -> str:
    """The format of a kernel's products: weights stored finer are multiplied in what comes in."""
    if kernel.precision in COMPUTED_AS_REST:
        return next((t.dtype for t in kernel.inputs if t.dtype in roof.peak), "fp16")
    precision = kernel.precision if kernel.precision in roof.peak else "fp32"
    return "tf32" if tf32 and precision == "fp32" else precision


def estimated(
    name: str, nodes: Sequence[str], precision: str, macs: int, moved: int, limits: Sequence[Limit]
) -> PartEstimate:
    """One part of an estimate.

    Args:
        name: The part's name.
        nodes: ONNX nodes whose work it does.
        precision: What it computes in.
        macs: Multiply-accumulates.
        moved: Bytes.
        limits: With the cache, and without.
    """
    cached, uncached = limits
    bound: Bound = "cache" if cached.seconds == 0 else "compute" if cached.compute >= cached.memory else "memory"
    return PartEstimate(name, tuple(nodes), precision, macs, moved, bound, cached.seconds, uncached.seconds)


def summed(
    precision: str,
    roof: Roofline,
    rates: TargetRates,
    sizes: Mapping[str, int],
    parts: Sequence[PartEstimate],
    unknown: Sequence[str] = (),
) -> Estimate:
    """The parts as one estimate."""
    whole = sum(part.estimated_seconds for part in parts)
    shares: dict[Bound, float] = {}
    for part in parts:
        if part.estimated_seconds > 0:
            shares[part.bound] = shares.get(part.bound, 0.0) + part.estimated_seconds / whole
    return Estimate(
        precision=precision,
        target=rates.target,
        sizes=dict(sizes),
        parts=tuple(parts),
        estimated_seconds=whole,
        estimated_seconds_uncached=sum(part.estimated_seconds_uncached for part in parts),
        bound_shares=shares,
        unknown=tuple(unknown),
        assumed=roof.assumed,
        source=rates.source,
    )
